#!/bin/sh
# Runs mosquitto as soon as a controller has written who may connect, and has it read that again whenever it changes.
files=/var/lib/fleetgate/broker
until [ -s "$files/passwords" ] && [ -s "$files/acl" ]; do sleep 1; done
mosquitto -c /etc/fleetgate/mosquitto.conf &
broker=$!
trap 'kill "$broker"' TERM INT
read_before=$(cat "$files/passwords" "$files/acl" | md5sum)
while kill -0 "$broker" 2>/dev/null; do
  sleep 1
  now=$(cat "$files/passwords" "$files/acl" | md5sum)
  [ "$now" = "$read_before" ] || kill -HUP "$broker"
  read_before=$now
done
wait "$broker"
