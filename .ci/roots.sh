# shellcheck shell=bash disable=SC2154
# What the roots of other Debian releases share: how they are made, and how one enters them.
#
# They live in a cache outside the checkout. Every entry happens in a private mount namespace:
# nothing that is mounted for it is visible to the host, so removing the root with rm -r can
# never reach the host's /dev.
#
# The script that sources this sets $root (the folder) and $cache.

mirror() { # the Debian mirror of this machine's own apt configuration
  local file found=
  for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -f $file ]] || continue
    found+=$(sed -nE -e 's#^URIs: *(\S*/debian)/?( .*)?$#\1#p' \
      -e 's#^deb( +\[[^]]*\])? +(\S*/debian)/? .*#\2#p' "$file")$'\n'
  done
  grep -m 1 . <<<"$found"
}

enter() { # enter [VAR=VALUE...] COMMAND...: chroot with /dev, /proc, /sys, /src and /cache
  # $namespaces: more options of unshare; $mounts: more commands for the private namespace;
  # $limit: a command in front of all that;
  # $offline: nothing will be installed, so do without what pip needs (it takes half a second).
  local name carry=()
  for name in $(compgen -e); do
    case $name in
      PIP_* | SSL_* | CURL_CA_BUNDLE | REQUESTS_CA_BUNDLE | CI | EVENLOOP_* | TERM | LANG | \
        http_proxy | https_proxy | no_proxy) carry+=("$name=${!name}") ;;
    esac
  done
  mkdir -p "$root"/{src,cache,dev,proc,sys,etc/ssl/certs}
  local -a folders=()
  [[ -n ${offline:-} ]] || prepare_downloads
  export root source=${EVENLOOP_SOURCE:-$(dirname "$here")} cache mounts=${mounts:-}
  # shellcheck disable=SC2086
  ${limit:-} unshare --mount --propagation private ${namespaces:-} bash -c '
    set -euo pipefail
    count=$1; shift
    folders=("${@:1:count}"); shift "$count"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --bind "$source" "$root/src"
    mount --bind "$cache" "$root/cache"
    for folder in "${folders[@]}"; do
      mkdir -p "$root$folder"
      mount --bind "$folder" "$root$folder"
    done
    eval "$mounts"
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
  ' enter "${#folders[@]}" "${folders[@]}" "${carry[@]}" "$@"
}

prepare_downloads() { # names, certificates and pip's settings as on the host; sets $folders
  cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
  cp -L /etc/hosts "$root/etc/hosts" 2>/dev/null || true
  cp -L /etc/pip.conf "$root/etc/pip.conf" 2>/dev/null || true
  # pip's user configuration and the bundle of certificates this machine trusts.
  mkdir -p "$root/root/.config/pip"
  cp -L "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" "$root/root/.config/pip/" 2>/dev/null || true
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
  # Folders that pip is told to look in (local indexes and wheels) keep their paths.
  mapfile -t folders < <(
    { pip config list 2>/dev/null || true; env | grep '^PIP_' || true; } |
      grep -oE '(file://)?/[A-Za-z0-9_./-]+' | sed 's#^file://##' | sort -u |
      while read -r folder; do
        folder=${folder%/simple} # an index links to files beside it
        [[ -d $folder ]] && printf '%s\n' "$folder"
      done
  )
}

debootstrap_root() { # debootstrap_root SUITE PACKAGE...: make $root anew
  local suite=$1 from
  shift
  command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -qqy debootstrap; }
  from=$(mirror) || true
  [[ -n $from ]] || { echo "no Debian mirror in this machine's apt configuration" >&2; exit 1; }
  # An older debootstrap has no script of that name; every suite since sid uses sid's.
  [[ -e /usr/share/debootstrap/scripts/$suite ]] || ln -s sid "/usr/share/debootstrap/scripts/$suite"
  rm -rf --one-file-system "${root:?}"
  mkdir -p "$root"
  unshare --mount --propagation private \
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$from"
  enter DEBIAN_FRONTEND=noninteractive bash -c '
    set -e
    # A mirror may stand still; what it serves is signed all the same.
    echo "Acquire::Check-Valid-Until \"false\";" >/etc/apt/apt.conf.d/90evenloop
    apt-get update -qq
    apt-get install -qqy --no-install-recommends "$@"
    rm -rf /var/cache/apt/archives/*.deb
  ' install "$@"
}

build_once() { # build_once STAMP COMMAND...: make the root unless one with that stamp is there
  local stamp=$1
  shift
  mkdir -p "$cache"
  exec 9>"$root.lock"
  flock 9 # two runs at once build it once
  [[ $(cat "$root/.evenloop-stamp" 2>/dev/null) == "$stamp" ]] && return
  "$@"
  printf '%s\n' "$stamp" >"$root/.evenloop-stamp"
}
