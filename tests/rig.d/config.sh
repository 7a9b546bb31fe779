# Names, versions, paths and addresses: everything that is a choice.

readonly KUBERNETES_VERSION=1.36.3 ETCD_VERSION=3.6.8 COREDNS_VERSION=1.14.3 VERSITYGW_VERSION=1.8.0 KWOK_VERSION=0.8.0
readonly GO_MINIMUM=1.26

readonly RIG_NAME=${JOBMETER_RIG_NAME:-default}
[[ $RIG_NAME =~ ^[a-z0-9]{1,8}$ ]] ||
	die_usage "JOBMETER_RIG_NAME must be 1 to 8 of a-z and 0-9, not '$RIG_NAME'"

readonly RIG_CACHE=${JOBMETER_RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/jobmeter-rig}
readonly RIG_DIR=${JOBMETER_RIG_DIR:-/tmp/jobmeter-rig-$RIG_NAME}
case $RIG_DIR/ in
/run/* | /var/run/* | /var/lib/* | /var/log/*)
	# Each node has folders of its own at these places: see nodes.sh.
	die_usage "JOBMETER_RIG_DIR must not lie under /run, /var/lib or /var/log: $RIG_DIR"
	;;
/*) ;;
*) die_usage "JOBMETER_RIG_DIR must be an absolute path: $RIG_DIR" ;;
esac

# As happens when another rig's exports are still in the environment.
if [[ -r $RIG_DIR/name && $(<"$RIG_DIR/name") != "$RIG_NAME" ]]; then
	die_usage "$RIG_DIR is the rig '$(<"$RIG_DIR/name")', not '$RIG_NAME'; unset JOBMETER_RIG_DIR"
fi

# The one number that the rig's networks follow from. A rig that runs keeps the
# number it was brought up with.
rig_net=${JOBMETER_RIG_NET:-200}
if [[ -e $RIG_DIR/ready ]]; then
	rig_net=$(<"$RIG_DIR/net")
fi
[[ $rig_net =~ ^20[0-3]$ ]] ||
	die_usage "JOBMETER_RIG_NET must be 200, 201, 202 or 203, not '$rig_net'"
readonly RIG_NET=$rig_net
readonly HOST_ADDRESS=10.$RIG_NET.0.1 # this machine, as the cluster sees it
readonly API_ADDRESS=10.$RIG_NET.0.2  # API server, DNS, and node-a
readonly POD_CIDR=10.$((RIG_NET - 100)).0.0/16
readonly SERVICE_CIDR=10.$((RIG_NET - 104)).0.0/16
readonly SERVICE_API_ADDRESS=10.$((RIG_NET - 104)).0.1
readonly API_URL=https://$API_ADDRESS:6443
readonly NETNS=jobmeter-$RIG_NAME
readonly HOST_INTERFACE=jmrig-$RIG_NAME TAP_INTERFACE=jmtap-$RIG_NAME

readonly KUBE_BIN=$RIG_CACHE/kubernetes-$KUBERNETES_VERSION-etcd-$ETCD_VERSION
readonly COREDNS_BIN=$RIG_CACHE/coredns-$COREDNS_VERSION
readonly VERSITYGW_BIN=$RIG_CACHE/versitygw-$VERSITYGW_VERSION
readonly KWOK_BIN=$RIG_CACHE/kwok-$KWOK_VERSION
readonly IMAGE_STORE=$RIG_CACHE/images
readonly ADMIN_KUBECONFIG=$RIG_DIR/kubeconfig
readonly ADMIN_TOKEN=admintoken

# --- the nodes -----------------------------------------------------------------
# node-a and node-b share this machine's kernel; node-v2 is a virtual machine.

readonly HOST_NODES=(node-a node-b) VM_NODE=node-v2
readonly VM_MEMORY_MIB=${JOBMETER_RIG_VM_MEMORY_MIB:-2048}
declare -rA NODE_ADDRESS=(
	[node-a]=$API_ADDRESS [node-b]=10.$RIG_NET.0.3 [node-v2]=10.$RIG_NET.0.4
)
declare -rA NODE_PODS=(
	[node-a]=10.$((RIG_NET - 100)).0.0/24
	[node-b]=10.$((RIG_NET - 100)).1.0/24
	[node-v2]=10.$((RIG_NET - 100)).2.0/24
)

# The kubelet's --cgroup-root. The default rig's node-a sits at the root, as a
# real node does; any other rig on the same kernel needs a prefix.
if [[ $RIG_NAME == default ]]; then
	declare -rA NODE_CGROUP_ROOT=([node-a]=/ [node-b]=/node-b [node-v2]=/)
else
	declare -rA NODE_CGROUP_ROOT=(
		[node-a]=/rig-$RIG_NAME-a [node-b]=/rig-$RIG_NAME-b [node-v2]=/
	)
fi

# kubepods_of NODE: where the node's pods are, under each controller's mount.
kubepods_of() {
	local root=${NODE_CGROUP_ROOT[$1]}
	printf '%s/kubepods\n' "${root%/}"
}

# v1 or v2: which interface the memory controller of this machine has.
host_cgroup_version() {
	if [[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]]; then
		echo v2
	else
		echo v1
	fi
}

kubectl() { "$KUBE_BIN/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }
