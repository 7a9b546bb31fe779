# node-v2: a node on pure cgroup v2, as a virtual machine with Debian's cloud
# kernel. Its disk is made anew each time; busybox's init starts containerd and
# the kubelet. It has no kube-proxy: Services go through its default route.

start_vm() {
	local vm=$RIG_DIR/$VM_NODE kernel
	kernel=$(cached_kernel) || die_missing "the VM node's kernel: run tests/setup"
	mkdir -p "$vm/root" "$vm/initramfs"
	vm_network_up
	make_vm_root "$vm/root" "$kernel"
	make_initramfs "$vm" "$kernel"
	mke2fs -q -t ext4 -d "$vm/root" "$vm/disk.img" 2G >/dev/null ||
		die "making the VM's disk failed; is there room in $RIG_DIR?"
	rm -r "$vm/root" "$vm/initramfs"

	# Emulation even where /dev/kvm exists: there it may hang.
	spawn_in_netns "$VM_NODE" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 \
		-m "$VM_MEMORY_MIB" -display none -monitor none -serial stdio -no-reboot -nodefaults \
		-kernel "$kernel/vmlinuz" -initrd "$vm/initramfs.img" \
		-append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all psi=1" \
		-drive "file=$vm/disk.img,format=raw,if=virtio,cache=unsafe" \
		-netdev "tap,id=net,ifname=$TAP_INTERFACE,script=no,downscript=no" \
		-device virtio-net-pci,netdev=net,romfile=
}

make_vm_root() {
	local root=$1 kernel=$2 rig=$1/etc/rig name
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64} \
		"$root"/{proc,sys,dev,run,tmp,opt/images,root,etc/cni/net.d,var/log,var/lib} "$rig/pki"
	for name in bin sbin lib lib64; do
		ln -s "usr/$name" "$root/$name"
	done
	ln -s /run "$root/var/run"
	add_system_files "$root"
	add_busybox "$root"
	cp "$KUBE_BIN/kubelet" "$root/usr/bin/"
	for name in containerd containerd-shim-runc-v2 ctr runc; do
		add_with_libraries "$root" "$(type -P "$name")"
	done
	for name in loopback ptp host-local; do
		add_with_libraries "$root" "/usr/lib/cni/$name"
	done
	add_modules "$root" "$kernel" virtio_net overlay veth bridge
	stored_images | xargs -r cp -t "$root/opt/images"

	cp "$RIG_DIR/pki/ca.crt" "$RIG_DIR/pki/$VM_NODE".* "$rig/pki/"
	printf 'nameserver %s\n' "$API_ADDRESS" >"$root/etc/resolv.conf"
	printf '127.0.0.1 localhost\n%s %s\n' "${NODE_ADDRESS[$VM_NODE]}" "$VM_NODE" >"$root/etc/hosts"
	printf 'PRETTY_NAME="Jobmeter rig node"\nID=rig\n' >"$root/etc/os-release"
	tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
	render cni.conflist SUBNET="${NODE_PODS[$VM_NODE]}" >"$root/etc/cni/net.d/10-rig.conflist"
	render containerd.toml CNI_CONF=/etc/cni/net.d >"$rig/containerd.toml"
	render kubelet.yaml NODE="$VM_NODE" ADDRESS="${NODE_ADDRESS[$VM_NODE]}" PKI=/etc/rig/pki \
		CGROUP_ROOT=/ DNS="$API_ADDRESS" RESOLV_CONF=/etc/resolv.conf >"$rig/kubelet.yaml"
	render vm-inittab >"$root/etc/inittab"
	render vm-boot NODE="$VM_NODE" ADDRESS="${NODE_ADDRESS[$VM_NODE]}" \
		GATEWAY="$API_ADDRESS" >"$rig/boot"
	render vm-kubelet NODE="$VM_NODE" ADDRESS="${NODE_ADDRESS[$VM_NODE]}" >"$rig/kubelet"
	chmod 755 "$rig/boot" "$rig/kubelet"
}

# Mounts the disk and hands over: runc's pivot_root fails on an initramfs.
make_initramfs() {
	local root=$1/initramfs
	mkdir -p "$root"/{bin,proc,sys,dev,disk,lib}
	add_busybox "$root"
	add_modules "$root" "$2" virtio_pci virtio_blk
	render vm-initramfs >"$root/init"
	chmod 755 "$root/init"
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$1/initramfs.img"
}

add_with_libraries() {
	local root=$1 file=$2 library
	[[ -e $file ]] || die_missing "$file: run tests/setup"
	cp -L --parents "$file" "$root"
	while read -r library; do
		cp -L --parents "$library" "$root"
	done < <(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true)
}

# add_modules ROOT KERNEL MODULE…: the modules and what they depend on.
add_modules() {
	local root=$1 tree module path
	tree=lib/modules/$(<"$2/release")
	mkdir -p "$root/$tree"
	cp "$2/$tree"/modules.* "$root/$tree/"
	for module in "${@:3}"; do
		# One line of modules.dep is "path: path…", the module first.
		for path in $(grep "/$module\.ko:" "$2/$tree/modules.dep" | tr -d :); do
			mkdir -p "$(dirname "$root/$tree/$path")"
			cp "$2/$tree/$path" "$root/$tree/$path"
		done
	done
}

await_vm_node() {
	await "$VM_NODE" 180 "node $VM_NODE to be Ready" node_is_ready "$VM_NODE"
	kubectl apply -f - <<<"$(render vm-window.yaml NODE="$VM_NODE")" >/dev/null
	await "$VM_NODE" 120 "the window pod of $VM_NODE" window_is_open
}

window_is_open() { quietly kubectl --namespace jobmeter-rig exec window -- true; }

# on_vm COMMAND…: as root in the VM, through the API server and its kubelet.
on_vm() {
	kubectl --namespace jobmeter-rig exec --stdin --quiet window -- \
		nsenter --target 1 --mount --uts --ipc --net --pid -- "$@"
}
