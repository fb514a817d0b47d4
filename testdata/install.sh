#!/usr/bin/env bash
# Installs what is missing on a Debian system.
#
#   install.sh COMMAND:PACKAGE...
#
# A package is installed if its command is not found; a command with a slash in
# it is a file. Services that come with packages are not started.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
for pair in "$@"; do
	command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
	echo "$0: no apt-get here: install by other means what Debian calls ${missing[*]}" >&2
	exit 1
fi
root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "$0: run as root, or install sudo" >&2; exit 1; }
	root=(sudo)
fi
"${root[@]}" bash -euo pipefail -c '
	# Status 101 tells the packages that they may not start anything.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap "rm -f $policy" EXIT
		printf "#!/bin/sh\nexit 101\n" >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "$@" </dev/null
' bash "${missing[@]}"
