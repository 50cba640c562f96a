#!/usr/bin/env python3
"""Images made of Debian's packages, for scenarios that run whole programs. Nothing is installed on this machine.

    debian.py            downloads what the images need into target/packages; run.py does so before the scenarios

A scenario has no way to the internet, so it only reads that folder: `image()` gives the layers of an image, or None where the packages
are not there. No maintainer script runs: what it would have made (users, folders), the scenario's own layer brings.
"""
import fnmatch, functools, glob, io, os, pathlib, shutil, subprocess, sys, tarfile, tempfile

CACHE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(__file__).resolve().parent.parent / "target") / "packages"
BASE = ["base-files", "bash", "coreutils", "dash", "libc-bin", "netbase"]
IMAGES = {"base": BASE, "nginx": ["nginx-light"], "postgres": ["postgresql"], "python": ["gunicorn", "python3-flask", "python3-psycopg2"]}
# What only maintainer scripts use, what a program does without (PostgreSQL's JIT compiler), and another layer's programs.
LEFT_OUT = ["*-perl", "*awk", "adduser", "cdebconf", "cron*", "debconf*", "dpkg", "fonts-*", "init-system-helpers", "install-info", "iproute2", "libc-l10n", "libdebian-installer4", "libelogind0",
            "libjs-*", "libllvm*", "libnewt*", "libperl*", "libsemanage*", "libslang2", "libtextwrap1", "libz3-*", "locales*", "logrotate", "lsb-*", "mailcap", "media-types", "passwd", "perl*",
            "postgresql-common", "python-babel-*", "python3-babel", "python3-pip*", "sensible-utils", "ssl-cert", "systemd*", "sysvinit*", "tar", "ucf", "udev", "usr-is-merged", "usrmerge"]
# Documents and translations, which a slim image leaves out too, and the module that wants the compiler.
PRUNED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/lib/postgresql/*/lib/llvmjit.so", "usr/lib/postgresql/*/lib/bitcode"]


def apt(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout


def closure(names):
    text = apt("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", *names)
    found = {line for line in text.splitlines() if line[:1].isalnum() and ":" not in line}
    return {name for name in found if not any(fnmatch.fnmatchcase(name, each) for each in LEFT_OUT)}


def fetch():
    """Downloads the packages of each image that is not whole. Gives what went wrong, if something did."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in IMAGES if not files(name)]
    if not wanted:
        return None
    if not shutil.which("apt-get"):
        return "this machine has no apt-get"
    try:
        print(f"downloading Debian packages into {CACHE} for images of {', '.join(wanted)}", flush=True)
        apt("apt-get", "update", "-qq")
        base = closure(BASE)
        for name in wanted:
            folder = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
            packages = base if name == "base" else closure(IMAGES[name]) - base
            subprocess.run(["apt-get", "download", "-qq", *sorted(packages)], cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            shutil.rmtree(CACHE / name, ignore_errors=True)
            folder.rename(CACHE / name)
    except (subprocess.CalledProcessError, OSError) as error:
        return f"apt is not reachable: {getattr(error, 'stderr', None) or error}".strip()


def files(name):
    return sorted(glob.glob(str(CACHE / name / "*.deb")))


@functools.cache
def unpacked(name):
    """A layer of the packages' files, with the folders of a merged /usr."""
    with tempfile.TemporaryDirectory() as root:
        for folder in ("bin", "sbin", "lib", "lib64"):
            os.makedirs(f"{root}/usr/{folder}")
            os.symlink(f"usr/{folder}", f"{root}/{folder}")
        for each in files(name):
            files_of = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", each], stdout=subprocess.PIPE)
            subprocess.run(["tar", "-x", "--keep-directory-symlink", "--warning=no-timestamp", "-C", root], stdin=files_of.stdout, check=True)
            assert files_of.wait() == 0, each
        for pattern in PRUNED:
            for path in glob.glob(f"{root}/{pattern}"):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        # Debian's own scripts choose these.
        if name == "base" and not os.path.lexists(f"{root}/usr/bin/sh"):
            os.symlink("dash", f"{root}/usr/bin/sh")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(root, ".")
        return out.getvalue()


def files_layer(entries):
    """A layer of (name, content or None for a folder, owner, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content, owner, mode in entries:
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mode = owner, owner, mode
            info.type, info.size = (tarfile.DIRTYPE, 0) if content is None else (tarfile.REGTYPE, len(content))
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def image(*names):
    """The layers of an image of these packages upon the base; None where they are not on this machine."""
    if not all(files(name) for name in ("base", *names)):
        return None
    return [unpacked(name) for name in ("base", *names)]


if __name__ == "__main__":
    sys.exit(fetch())
