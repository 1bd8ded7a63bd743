#!/bin/sh
# Makes the Fleetgate agent a service of Termux on an Android phone, with llama-server as its engine. The program comes from
# a computer where `npm run setup` was run (its compiler has no build for Android):
#
#   tar czf fleetgate-agent.tgz package.json package-lock.json .npmrc controller/package.json controller/bin \
#     shared/package.json shared/dist agent/package.json agent/dist firmware-configs
#
# and in Termux (of F-Droid), in ~/fleetgate where that was unpacked:
#
#   pkg install nodejs-lts && npm ci --workspace agent --omit=dev --omit=optional --ignore-scripts
#   firmware-configs/install/termux.sh --controller http://HOST:8080 --name NAME --token TOKEN --model FILE.gguf --variant ID
#
# ID is the model's name in the fleet (`fleetgate experts`): what llama-server has to answer to.
# By hand, once: install the apps Termux:API and Termux:Boot from F-Droid and open each; exempt all three from battery
# optimisation. It may be run again: it writes the same files, and keeps the token that is there when none is given.
# --release-keys FILE.pem: whose signed releases of board configs the phone takes. --no-packages: installs none.
set -eu

controller=
name=
token=
model=
variant=
keys=
packages=yes
program=$(cd "$(dirname "$0")/../.." && pwd)
source=$program/firmware-configs/termux

fail() { # fail WHAT [HINT]
  echo "install: $1" >&2
  if [ $# -gt 1 ]; then echo "hint: $2" >&2; fi
  exit 2
}

place() { # place FROM TO: an executable script, begun as Termux's shell is found
  mkdir -p "$(dirname "$2")"
  sed "1s|^#!/bin/sh|#!$PREFIX/bin/sh|" "$source/$1" >"$2.new"
  chmod 755 "$2.new"
  mv "$2.new" "$2"
  echo "wrote $2"
}

one_word() { # one_word WHAT VALUE
  case $2 in '' | *[!A-Za-z0-9._:/@-]*) fail "$1: expected letters, digits and . _ : / @ -, got \"$2\"" ;; esac
}

while [ $# -gt 0 ]; do
  case $1 in
    --no-packages) packages=no && shift && continue ;;
    --controller | --name | --token | --model | --variant | --release-keys) [ $# -gt 1 ] || fail "$1: expected a value" ;;
    *) fail "unknown option $1" "$0 --controller URL --name NAME --token TOKEN --model FILE.gguf --variant ID" ;;
  esac
  case $1 in
    --controller) controller=$2 ;;
    --name) name=$2 ;;
    --token) token=$2 ;;
    --model) model=$2 ;;
    --variant) variant=$2 ;;
    --release-keys) keys=$2 ;;
  esac
  shift 2
done

case ${PREFIX:-} in *com.termux*) ;; *) fail "PREFIX is \"${PREFIX:-}\": this is not Termux" 'elsewhere: install/linux.sh' ;; esac
one_word --controller "$controller"
one_word --name "$name"
one_word --model "$model"
one_word --variant "$variant"
[ -f "$program/agent/dist/cli/main.js" ] || fail "the agent is not built in $program" "the first lines of $0 say how"
if [ "$packages" = yes ]; then pkg install -y nodejs-lts termux-services termux-api llama-cpp; fi

settings=$PREFIX/etc/fleetgate.env
if [ -z "$token" ] && [ -f "$settings" ]; then token=$(sed -n 's/^FLEETGATE_JOIN_TOKEN=//p' "$settings"); fi
if [ -n "$token" ]; then one_word --token "$token"; fi
options=
if [ -n "$keys" ]; then
  [ -f "$keys" ] || fail "--release-keys: there is no file $keys"
  cp "$keys" "$PREFIX/etc/fleetgate-release-keys.pem"
fi
if [ -f "$PREFIX/etc/fleetgate-release-keys.pem" ]; then
  options="--release-keys $PREFIX/etc/fleetgate-release-keys.pem"
fi
(
  umask 077
  mkdir -p "$HOME/.fleetgate-agent"
  cat >"$settings.new" <<END
FLEETGATE_PROGRAM=$program
FLEETGATE_CONTROLLER=$controller
FLEETGATE_NAME=$name
FLEETGATE_MODEL=$model
FLEETGATE_VARIANT=$variant
FLEETGATE_JOIN_TOKEN=$token
FLEETGATE_AGENT_OPTIONS="$options"
END
)
mv "$settings.new" "$settings"
echo "wrote $settings"

for service in fleetgate-engine fleetgate-agent; do
  place "$service/run" "$PREFIX/var/service/$service/run"
  place "$service/log/run" "$PREFIX/var/service/$service/log/run"
done
place boot/fleetgate "$HOME/.termux/boot/fleetgate"
place fleetgate-revive "$HOME/.termux/fleetgate-revive"

cat <<END
Start it now:         sh ~/.termux/boot/fleetgate
See how it is:        sv status \$PREFIX/var/service/fleetgate-agent; tail \$PREFIX/var/log/sv/fleetgate-agent/current
Android 12 and later end processes of an app that has many or busy ones. Once, from a computer with adb:
  adb shell settings put global settings_enable_monitor_phantom_procs false                              (12L and later)
  adb shell device_config put activity_manager max_phantom_processes 2147483647                          (12)
END
