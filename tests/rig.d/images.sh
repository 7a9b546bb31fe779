# Container images without an engine or a registry: a docker-archive tar made
# with tar and sha256sum, kept in the cache, imported into each node.

# image_tar NAME:TAG: where the image is stored.
image_tar() { printf '%s/%s.tar\n' "$IMAGE_STORE" "${1//[^a-zA-Z0-9.-]/_}"; }

stored_images() {
	shopt -s nullglob
	printf '%s\n' "$IMAGE_STORE"/*.tar
	shopt -u nullglob
}

# The images the rig itself needs: a sandbox that sleeps and a job image.
store_base_images() {
	mkdir -p "$IMAGE_STORE" || die "cannot make $IMAGE_STORE; set JOBMETER_RIG_CACHE"
	# Left by a command that was killed.
	find "$IMAGE_STORE" -maxdepth 1 -name '.making-*' -mmin +60 -exec rm -rf {} +
	store_image localhost/jobbox:1 --busybox
	store_image localhost/pause:1 --busybox --entrypoint /bin/sleep --argument 2147483647
}

# store_image NAME:TAG OPTION…: see load-image in tests/rig --help.
store_image() {
	local image=${1:-} entrypoint='' user='' argument='' busybox='' work
	local -a programs=() linked=()
	[[ $image =~ ^[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9._-]+$ ]] ||
		die_usage "load-image needs NAME:TAG first, not '$image'"
	shift
	while (($#)); do
		case $1 in
		--busybox) busybox=yes && shift && continue ;;
		--bin | --linked | --entrypoint | --argument | --user) ;;
		*) die_usage "load-image does not know '$1'" ;;
		esac
		(($# > 1)) || die_usage "load-image: $1 needs a value"
		case $1 in
		--bin) programs+=("$2") ;;
		--linked) linked+=("$2") ;;
		--entrypoint) entrypoint=$2 ;;
		--argument) argument=$2 ;;
		--user) user=$2 ;;
		esac
		shift 2
	done
	[[ $busybox || ${#programs[@]} -gt 0 || ${#linked[@]} -gt 0 ]] ||
		die_usage "load-image needs at least one --bin PATH[=/destination]"

	local program destination
	make_work_folder "$IMAGE_STORE"
	work=$WORK_FOLDER
	mkdir "$work/root" "$work/archive"
	add_system_files "$work/root"
	[[ ! $busybox ]] || add_busybox "$work/root"
	for program in "${programs[@]}"; do
		destination=/usr/local/bin/$(basename "${program%%=*}")
		[[ $program != *=* ]] || destination=${program#*=}
		add_program "${program%%=*}" "$work/root" "$destination"
		entrypoint=${entrypoint:-$destination}
	done
	for program in "${linked[@]}"; do
		add_linked "$program" "$work/root"
	done
	write_archive "$work" "$image" "$entrypoint" "$argument" "$user"
	mv "$work/image.tar" "$(image_tar "$image")"
	rm -r "$work"
}

add_system_files() {
	local root=$1 authorities=/etc/ssl/certs/ca-certificates.crt
	mkdir -p "$root"/{etc/ssl/certs,tmp,proc,sys,dev,run,var/tmp,usr/local/bin}
	chmod 1777 "$root/tmp" "$root/var/tmp"
	printf '%s\n' 'root:x:0:0:root:/:/bin/sh' \
		'nobody:x:65534:65534:nobody:/nonexistent:/bin/false' \
		'nonroot:x:65532:65532:nonroot:/:/bin/false' >"$root/etc/passwd"
	printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' 'nonroot:x:65532:' >"$root/etc/group"
	[[ ! -r $authorities ]] || cp "$authorities" "$root/etc/ssl/certs/"
}

add_busybox() {
	local root=$1 applet
	add_program "$(type -P busybox)" "$root" /bin/busybox
	while read -r applet; do
		[[ -e $root/bin/$applet ]] || ln -s busybox "$root/bin/$applet"
	done < <(busybox --list)
}

# Only static programs run in an image that holds no libraries, and these build
# them (both tried with rustls on ring and SQLite bundled as C source):
#
#   rustup target add x86_64-unknown-linux-musl     # wants Debian's musl-tools
#   cargo build --release --target x86_64-unknown-linux-musl
#
# and, where static.rust-lang.org cannot be reached, against glibc's libc.a
# (Debian's libc6-dev):
#
#   RUSTFLAGS='-C target-feature=+crt-static' \
#       cargo build --release --target x86_64-unknown-linux-gnu
#
# The second needs --target even on an x86_64 host: without it the flag also
# reaches procedural macros, which cannot be static.
add_program() {
	local program=$1 root=$2 destination=$3
	[[ -f $program ]] || die "load-image: no such program: $program; build it first"
	[[ $destination == /* ]] || die_usage "load-image: not an absolute destination: $destination"
	if LC_ALL=C grep -q -a -m 1 '/lib64/ld-linux\|/lib/ld-musl' <(head -c 4096 "$program"); then
		die "load-image: $program is linked dynamically; tests/rig.d/images.sh says how to build it statically"
	fi
	mkdir -p "$root$(dirname "$destination")"
	install -m 755 "$program" "$root$destination"
}

# A program of this machine, and its libraries where its loader looks for them.
add_linked() {
	local program=$1 root=$2 library
	[[ -x $program ]] || die "load-image: no such program: $program; tests/setup installs what images need"
	install -D -m 755 "$program" "$root/usr/local/bin/$(basename "$program")"
	while read -r library; do
		install -D -m 755 "$library" "$root$library"
	done < <(ldd "$program" | grep -o '/[^ ]*')
}

# write_archive WORK IMAGE ENTRYPOINT ARGUMENT USER: WORK/image.tar from
# WORK/root. The same content gives the same bytes.
write_archive() {
	local work=$1 image=$2 entrypoint=$3 argument=$4 user=$5
	local archive=$work/archive layer config
	local -a stable=(--sort=name --owner=0 --group=0 --numeric-owner --mtime=@0)
	tar "${stable[@]}" -C "$work/root" -cf "$archive/layer.tar" .
	layer=$(sha256sum "$archive/layer.tar" | cut -d ' ' -f 1)
	mv "$archive/layer.tar" "$archive/$layer.tar"
	cat >"$work/config.json" <<-JSON
		{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z",
		"config":{"User":"$user","WorkingDir":"/",
		"Env":["PATH=/usr/local/bin:/usr/bin:/bin","SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
		"Entrypoint":[${entrypoint:+\"$entrypoint\"}],"Cmd":[${argument:+\"$argument\"}]},
		"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},
		"history":[{"created":"1970-01-01T00:00:00Z","created_by":"tests/rig load-image"}]}
	JSON
	config=$(sha256sum "$work/config.json" | cut -d ' ' -f 1)
	mv "$work/config.json" "$archive/$config.json"
	printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]\n' \
		"$config" "$image" "$layer" >"$archive/manifest.json"
	tar "${stable[@]}" -C "$archive" -cf "$work/image.tar" .
}

# --- import --------------------------------------------------------------------

# import_image NODE TAR: into a node that runs.
import_image() {
	local node=$1 tar=$2 output
	if [[ $node == "$VM_NODE" ]]; then
		output=$(on_vm ctr -n k8s.io images import - <"$tar" 2>&1)
	else
		output=$(host_node_ctr "$node" images import "$tar" 2>&1)
	fi || die "importing $(basename "$tar") into $node failed: $output"
}

import_stored_images() {
	local tar
	while read -r tar; do
		import_image "$1" "$tar"
	done < <(stored_images)
}
