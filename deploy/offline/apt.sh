# An apt set-up of its own for another suite than the machine's: sources, index and downloads lie in one folder, the mirror is
# the one that apt uses already (or DEBIAN_MIRROR), so that no file here names an address. Sourced by `build` and `engine`.

SUITE=trixie

say() { printf '%3ds  %s\n' "$SECONDS" "$1"; }
fail() { printf '%s: %s\n' "$0" "$1" >&2; exit 1; }

mirror() {
    local found=${DEBIAN_MIRROR:-}
    [[ -n $found ]] || found=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [[ -n $found ]] || fail 'apt has no Debian mirror here (or `apt-get update` never ran): name one in DEBIAN_MIRROR'
    echo "$found"
}

# prepare_apt FOLDER SEEN_AS: writes FOLDER/apt.conf, whose paths begin with SEEN_AS, where the folder lies for its reader.
prepare_apt() {
    mkdir -p "$1/lists/partial" "$1/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $SUITE main" >"$1/sources.list"
    {
        apt-config dump | grep -E '^Acquire::(https?::|Check|Retries)' || true
        cat <<-END
		Dir::Etc::SourceList "$2/sources.list";
		Dir::Etc::SourceParts "-";
		Dir::State::Lists "$2/lists";
		Dir::Cache::Archives "$2/archives";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		APT::Sandbox::User "root";
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Dpkg::Use-Pty "0";
		END
    } >"$1/apt.conf"
}
