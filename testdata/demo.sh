#!/usr/bin/env bash
# Fills a registry through a mount of it, and shows it around.
#
#   demo.sh REGISTRYFS
#
# The registry is made anew in demo/store. It holds demo/registryfs, an image of
# this program for two platforms, and demo/hello, an image of one text file.
# They are written as a user would write them: with cp and ln. The mount, at
# demo/mnt, stays until Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
registryfs=$(realpath "$1")
store=demo/store mnt=demo/mnt work=demo/build

finish() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP # once is enough
	if mounted; then
		echo "unmounting $mnt"
		"$registryfs" unmount "$mnt" || {
			echo "detaching $mnt: it goes when nobody uses it any more"
			fusermount3 -uz "$mnt"
		}
	fi
	exit "$status"
}
mounted() { mountpoint -q "$mnt" 2>/dev/null; }

# put_blob REPOSITORY FILE prints the digest.
put_blob() {
	local hex
	hex=$(sha256sum <"$2" | cut -d' ' -f1)
	mkdir -p "$mnt/$1"
	cp "$2" "$mnt/$1/_blobs/sha256/$hex"
	echo "sha256:$hex"
}

# descriptor TYPE DIGEST FILE [MORE] prints a descriptor of the OCI image specification.
descriptor() {
	printf '{"mediaType":"application/vnd.oci.image.%s","digest":"%s","size":%d%s}' "$1" "$2" "$(stat -c %s "$3")" "${4-}"
}

# put_image REPOSITORY DIR ARCHITECTURE ENTRYPOINT OUT pushes the files of DIR as
# an image of one layer, and leaves its manifest in OUT.
put_image() {
	local repo=$1 dir=$2 arch=$3 entrypoint=$4 out=$5 diff_id layer config
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$dir" -cf "$out.tar" .
	diff_id=sha256:$(sha256sum <"$out.tar" | cut -d' ' -f1)
	gzip -n -f "$out.tar"
	printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["%s"]},"rootfs":{"type":"layers","diff_ids":["%s"]}}' \
		"$arch" "$entrypoint" "$diff_id" >"$out.config"
	layer=$(put_blob "$repo" "$out.tar.gz")
	config=$(put_blob "$repo" "$out.config")
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
		"$(descriptor config.v1+json "$config" "$out.config")" \
		"$(descriptor layer.v1.tar+gzip "$layer" "$out.tar.gz")" >"$out"
}

push_registryfs() {
	local repo=demo/registryfs arch hex platforms=
	for arch in amd64 arm64; do
		mkdir -p "$work/$arch"
		echo "building registryfs for linux/$arch"
		CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags='-s -w' -o "$work/$arch/registryfs" ./cmd/registryfs
		put_image "$repo" "$work/$arch" "$arch" /registryfs "$work/$arch.json"
		hex=$(sha256sum <"$work/$arch.json" | cut -d' ' -f1)
		cp "$work/$arch.json" "$mnt/$repo/_manifests/sha256/$hex"
		platforms+=${platforms:+,}$(descriptor manifest.v1+json "sha256:$hex" "$work/$arch.json" \
			",\"platform\":{\"architecture\":\"$arch\",\"os\":\"linux\"}")
	done
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$platforms" >"$work/index.json"
	cp "$work/index.json" "$mnt/$repo/_tags/v1"
	ln -s v1 "$mnt/$repo/_tags/latest"
}

push_hello() {
	mkdir -p "$work/hello"
	echo 'Hello from a layer.' >"$work/hello/hello.txt"
	put_image demo/hello "$work/hello" amd64 /hello.txt "$work/hello.json"
	cp "$work/hello.json" "$mnt/demo/hello/_tags/1.0"
}

# show runs a command as a user would type it. A command may fail: that, too,
# is shown.
show() {
	printf '\n$ %s\n' "$1"
	bash -c "$1" || true
}

tour() {
	local repo=$mnt/demo/registryfs layer
	show "ls $mnt $mnt/demo $repo"
	show "ls -l $repo/_tags"
	show "readlink $repo/_tags/latest"
	show "cat $repo/_tags/latest | head -c 300; echo"
	show "ls -l $repo/_blobs/sha256 | cut -c1-100"
	layer=$(sha256sum <"$work/hello.json.tar.gz" | cut -d' ' -f1)
	echo
	echo "# Layers go out with cp, checked against their digest on the way:"
	show "cp $mnt/demo/hello/_blobs/sha256:$layer $work/layer.tar.gz && tar xzOf $work/layer.tar.gz ./hello.txt"
	echo
	echo "# No digests are needed in _images, and _oci is an image layout for every tool that knows those:"
	show "ls $repo/_images/v1 && tar tzf $mnt/demo/hello/_images/1.0/linux-amd64/layers/00.tar.gz"
	if command -v skopeo >/dev/null; then
		show "mkdir $mnt/demo/copy && skopeo copy -q oci:$mnt/demo/hello/_oci:1.0 oci:$mnt/demo/copy/_oci:2.0 && ls $mnt/demo/copy/_tags"
	fi
	echo
	echo "# A retag is a link; what does not match its name is refused, and the reason kept:"
	show "ln -sfn v1 $repo/_tags/stable && ls $repo/_tags"
	show "cp go.mod $repo/_blobs/sha256/$layer"
	show "tail -n 1 $mnt/.registryfs/errors"
}

[ ! -e "$mnt" ] || ! mounted || { echo "$mnt is mounted already: $registryfs unmount $mnt" >&2; exit 1; }
trap finish EXIT
trap 'exit 0' INT TERM HUP
rm -rf "$store"
mkdir -p "$store" "$mnt" "$work"
"$registryfs" mount --daemon --create "$store" "$mnt"
push_registryfs
push_hello
tour

printf '\n%s is mounted on %s: look around from another terminal. Ctrl-C unmounts it.\n' "$store" "$mnt"
while mounted; do
	sleep 1 &
	wait $! || true # a signal ends the wait, not only the sleep
done
