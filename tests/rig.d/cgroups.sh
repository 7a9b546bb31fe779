# The cgroup trees of the nodes that share this machine's kernel: one folder in
# each v1 hierarchy and in the v2 one, whatever of these is mounted.

cgroup_mounts() {
	awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u
}

# The top folder of each tree that belongs to the rig, under each mount.
rig_cgroups() {
	local mount node root
	while read -r mount; do
		for node in "${HOST_NODES[@]}"; do
			root=${NODE_CGROUP_ROOT[$node]}
			[[ $root != / ]] || root=/kubepods
			[[ ! -d $mount$root ]] || printf '%s\n' "$mount$root"
		done
	done < <(cgroup_mounts)
}

refuse_foreign_cgroups() {
	local -a found
	mapfile -t found < <(rig_cgroups)
	((${#found[@]} == 0)) || die "${found[0]} exists already: a kubelet uses this machine's" \
		"cgroups, or another rig's 'down' did not finish. Remove the empty tree," \
		"or give this rig a JOBMETER_RIG_NAME of its own"
}

# A kubelet wants its --cgroup-root to exist in every hierarchy.
make_cgroup_root() {
	local root=$1 mount file
	[[ $root != / ]] || return 0
	while read -r mount; do
		mkdir -p "$mount$root"
		# A v1 cpuset starts empty, and takes no process until it is filled.
		for file in cpuset.cpus cpuset.mems; do
			[[ ! -s $mount/$file || ! -e $mount$root/$file || -e $mount/cgroup.controllers ]] ||
				cat "$mount/$file" >"$mount$root/$file"
		done
	done < <(cgroup_mounts)
}

# Pids of everything in the rig's pods, in whatever namespaces they are.
pod_pids() {
	local -a trees
	mapfile -t trees < <(rig_cgroups)
	((${#trees[@]})) || return 0
	# Folders may go while they are being read.
	{ find "${trees[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null || true; } | sort -un
}

# Succeeds when nothing is left. The kernel may need a moment after the last
# process has ended, so poll this.
remove_rig_cgroups() {
	local -a trees
	mapfile -t trees < <(rig_cgroups)
	((${#trees[@]})) || return 0
	find "${trees[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
	[[ -z $(rig_cgroups) ]]
}
