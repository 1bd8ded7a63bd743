#!/bin/sh
# Makes the Fleetgate agent (or controller) of /opt/fleetgate a service of this machine: Raspberry Pi OS, Jetson Linux and
# other systems with systemd. Nothing is fetched and nothing is compiled here; that is `npm run setup`, before:
#
#   sudo git clone URL /opt/fleetgate && cd /opt/fleetgate && sudo npm run setup
#   sudo firmware-configs/install/linux.sh agent --controller http://HOST:8080 --name NAME [--token TOKEN] \
#     [--release-keys FILE.pem] [-- OPTIONS]
#   sudo firmware-configs/install/linux.sh controller [-- OPTIONS]
#   sudo firmware-configs/install/linux.sh remove
#
# FILE.pem: whose signed releases of board configs the device takes; none without it. OPTIONS go to `fleetgate agent` or `fleetgate controller` as they are. It may be run again: it writes the same files.
# --root DIR: writes below DIR and starts nothing, to see what it does.
set -eu

root=
controller=
name=
token=
keys=
options=
PROGRAM=/opt/fleetgate

fail() { # fail WHAT [HINT]
  echo "install: $1" >&2
  if [ $# -gt 1 ]; then echo "hint: $2" >&2; fi
  exit 2
}

do_or_say() { # do_or_say COMMAND...: on a tree the command is only said
  echo "+ $*"
  if [ -z "$root" ]; then "$@"; fi
}

write() { # write FILE MODE: from standard input, whole or not at all
  mkdir -p "$(dirname "$root$1")"
  (umask 077 && cat >"$root$1.new")
  chmod "$2" "$root$1.new"
  mv "$root$1.new" "$root$1"
  echo "wrote $1"
}

check_machine() {
  [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail 'must be root' "sudo $0 ..."
  [ -n "$root" ] || command -v systemctl >/dev/null || fail 'there is no systemd here' 'on Android: install/termux.sh'
  [ -x "$root/usr/bin/node" ] || fail 'no /usr/bin/node' 'Node 20.19 or newer; Raspberry Pi OS 12 and Ubuntu have an older one, nodesource.com a current one'
  "$root/usr/bin/node" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
    fail "/usr/bin/node is $("$root/usr/bin/node" --version), expected 20.19 or newer"
  [ -f "$root$PROGRAM/agent/dist/cli/main.js" ] || fail "Fleetgate is not built in $PROGRAM" "cd $PROGRAM && npm run setup"
}

one_word() { # one_word WHAT VALUE: what goes into a file of environment variables
  case $2 in '' | *[!A-Za-z0-9._:/@-]*) fail "$1: expected letters, digits and . _ : / @ -, got \"$2\"" ;; esac
}

install_units() { # install_units UNIT...
  for unit in "$@"; do write "/etc/systemd/system/$unit" 644 <"$root$PROGRAM/firmware-configs/systemd/$unit"; done
}

# The sensors of a Raspberry Pi and the GPU of a Jetson are devices of these groups; a unit with one that is not there fails.
device_groups() {
  groups=
  for group in video render; do
    if grep -q "^$group:" "$root/etc/group"; then groups="$groups $group"; fi
  done
  if [ -n "$groups" ]; then
    printf '[Service]\nSupplementaryGroups=%s\n' "${groups# }" |
      write /etc/systemd/system/fleetgate-agent.service.d/groups.conf 644
  fi
}

install_agent() {
  one_word --controller "$controller"
  one_word --name "$name"
  write /usr/lib/sysusers.d/fleetgate.conf 644 <"$root$PROGRAM/firmware-configs/systemd/fleetgate.sysusers"
  do_or_say systemd-sysusers fleetgate.conf
  if [ -n "$keys" ]; then
    [ -f "$keys" ] || fail "--release-keys: there is no file $keys"
    write /etc/fleetgate/release-keys.pem 644 <"$keys"
  fi
  if [ -f "$root/etc/fleetgate/release-keys.pem" ]; then
    options="--release-keys /etc/fleetgate/release-keys.pem${options:+ $options}"
  fi
  write /etc/fleetgate/agent.env 644 <<END
FLEETGATE_CONTROLLER=$controller
FLEETGATE_NAME=$name
FLEETGATE_AGENT_OPTIONS=$options
END
  if [ -n "$token" ]; then
    one_word --token "$token"
    printf 'FLEETGATE_JOIN_TOKEN=%s\n' "$token" | write /etc/fleetgate/join-token.env 600
  fi
  install_units fleetgate-agent.service
  device_groups
  if [ -f "$root/etc/nvpmodel.conf" ]; then
    install_units fleetgate-power-mode.service fleetgate-power-mode.path
  fi
  do_or_say systemctl daemon-reload
  if [ -f "$root/etc/nvpmodel.conf" ]; then do_or_say systemctl enable --now fleetgate-power-mode.path; fi
  do_or_say systemctl enable --now fleetgate-agent.service
  echo 'See how it is: systemctl status fleetgate-agent; journalctl -u fleetgate-agent'
}

install_controller() {
  write /etc/fleetgate/controller.env 644 <<END
FLEETGATE_CONTROLLER_OPTIONS=$options
END
  install_units fleetgate-controller.service
  do_or_say systemctl daemon-reload
  do_or_say systemctl enable --now fleetgate-controller.service
  echo 'Its API key and join token: /var/lib/fleetgate-controller; journalctl -u fleetgate-controller'
}

# Leaves what the services have learned and enrolled in /var/lib, and the program in /opt/fleetgate.
remove() {
  for unit in fleetgate-agent.service fleetgate-controller.service fleetgate-power-mode.path fleetgate-power-mode.service; do
    [ -f "$root/etc/systemd/system/$unit" ] || continue
    case $unit in *power-mode.service) ;; *) do_or_say systemctl disable --now "$unit" ;; esac
    rm -rf "$root/etc/systemd/system/$unit" "$root/etc/systemd/system/$unit.d"
    echo "removed /etc/systemd/system/$unit"
  done
  rm -rf "$root/etc/fleetgate" "$root/usr/lib/sysusers.d/fleetgate.conf"
  do_or_say systemctl daemon-reload
}

what=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
  case $1 in
    --) shift && options=$* && break ;;
    --root | --controller | --name | --token | --release-keys)
      [ $# -gt 1 ] || fail "$1: expected a value"
      case $1 in
        --root) root=${2%/} ;;
        --controller) controller=$2 ;;
        --name) name=$2 ;;
        --token) token=$2 ;;
        --release-keys) keys=$2 ;;
      esac
      shift 2
      ;;
    *) fail "unknown option $1" "$0 agent --controller URL --name NAME [--token TOKEN]" ;;
  esac
done
case $options in *'
'*) fail 'OPTIONS: expected one line' ;; esac

case $what in
  agent) check_machine && install_agent ;;
  controller) check_machine && install_controller ;;
  remove) remove ;;
  *) fail 'expected agent, controller or remove' "the first lines of $0 say how" ;;
esac
