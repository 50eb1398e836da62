#!/bin/sh
# What udhcpc calls at each event ($1): it sets the address, and leaves the lease for the agent in $DIECAST_LEASE.
# An address is never taken away before another one is there: NFS mounts hang on it.
set -u

case "$1" in
deconfig)
	ip link set dev "$interface" up
	;;
bound | renew)
	[ -n "${mtu:-}" ] && ip link set dev "$interface" mtu "$mtu"
	ip -4 addr show dev "$interface" | while read -r word address rest; do
		if [ "$word" = inet ] && [ "${address%/*}" != "$ip" ]; then
			ip -4 addr del "$address" dev "$interface"
		fi
	done
	ip -4 addr replace "$ip/${mask:-24}" broadcast + dev "$interface"
	for gateway in ${router:-}; do
		ip -4 route replace default via "$gateway" dev "$interface"
		break
	done
	# The rename makes the lease appear whole.
	{
		echo "interface=$interface"
		echo "ip=$ip"
		echo "prefix=${mask:-24}"
		echo "router=${router:-}"
		echo "server=${serverid:-}"
		echo "lease_s=${lease:-}"
	} >"$DIECAST_LEASE.new" && mv "$DIECAST_LEASE.new" "$DIECAST_LEASE"
	;;
esac
exit 0
