# The rig's own network namespace: ports, bridges and iptables rules in it touch
# nobody. It hangs on this machine by one veth pair, and on the VM by a tap.
#
#   host HOST_INTERFACE 10.N.0.1 ──veth── uplink ┐
#                                                ├ nodes (bridge) 10.N.0.2 .3
#                       VM eth0 10.N.0.4 ── tap ─┘

# Not `ip netns exec`: it remounts /sys, and the cgroup mounts are gone.
in_netns() { nsenter --net="/run/netns/$NETNS" "$@"; }
ip_in_netns() { ip -n "$NETNS" "$@"; }

has_netns() { [[ -e /run/netns/$NETNS ]]; }

network_up() {
	if ip link show "$HOST_INTERFACE" &>/dev/null || has_netns; then
		die "network $NETNS exists already, left by another rig; end it with 'tests/rig down'"
	fi
	local taken
	taken=$(ip -4 route show "10.$RIG_NET.0.0/24")
	[[ -z $taken ]] ||
		die "10.$RIG_NET.0.0/24 is in use here ($taken); set JOBMETER_RIG_NET to another of 200 to 203"

	ip netns add "$NETNS"
	ip link add "$HOST_INTERFACE" type veth peer name uplink netns "$NETNS"
	ip address add "$HOST_ADDRESS/24" dev "$HOST_INTERFACE"
	ip link set "$HOST_INTERFACE" up

	ip_in_netns link set lo up
	ip_in_netns link add nodes type bridge
	ip_in_netns link set uplink master nodes up
	local node
	for node in "${HOST_NODES[@]}"; do
		ip_in_netns address add "${NODE_ADDRESS[$node]}/24" dev nodes
	done
	ip_in_netns link set nodes up
	ip_in_netns route add default via "$HOST_ADDRESS"
	in_netns sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	# Services are a matter for routing: the bridge is to leave packets alone.
	in_netns sh -c '! test -e /proc/sys/net/bridge/bridge-nf-call-iptables ||
		echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables'

	# So that tests on this machine reach pods and Services by address.
	ip route add "$POD_CIDR" via "$API_ADDRESS"
	ip route add "$SERVICE_CIDR" via "$API_ADDRESS"
}

# The VM is a neighbour of the other nodes: everything reaches it and its pods.
# What its own pods send each other through a Service comes by here, and answers
# must come back the same way: hence the rule.
vm_network_up() {
	local pods=${NODE_PODS[$VM_NODE]}
	in_netns ip tuntap add "$TAP_INTERFACE" mode tap
	ip_in_netns link set "$TAP_INTERFACE" master nodes up
	ip_in_netns route add "$pods" via "${NODE_ADDRESS[$VM_NODE]}"
	in_netns sh -c 'echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects'
	in_netns sh -c 'echo 0 >/proc/sys/net/ipv4/conf/nodes/send_redirects'
	in_netns iptables --wait -t nat -A POSTROUTING -s "$pods" -d "$pods" -j MASQUERADE
}

# Interfaces and routes inside go with the namespace, those outside with the pair.
network_down() {
	if ip link show "$HOST_INTERFACE" &>/dev/null; then
		ip link delete "$HOST_INTERFACE"
	fi
	if has_netns; then
		ip netns delete "$NETNS"
	fi
	# `ip netns add` mounts this folder over itself; nobody else may be using it.
	if [[ -d /run/netns && -z $(ls -A /run/netns) ]]; then
		! mountpoint -q /run/netns || busybox umount /run/netns
		rmdir /run/netns
	fi
}

# Pids of everything that runs in the namespace.
netns_pids() {
	! has_netns || ip netns pids "$NETNS"
}
