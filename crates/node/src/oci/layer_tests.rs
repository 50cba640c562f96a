//! Layers as people and attackers make them.

use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;
use crate::oci::tar::build::{archive, entry, file, folder, hard_link, pax, symlink};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    entries: 100,
};

struct Fixture {
    data: tempfile::TempDir,
    blobs: BlobStore,
    layers: LayerStore,
}

fn fixture() -> Fixture {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("outside"), "untouched").unwrap();
    let blobs = BlobStore::open(data.path()).unwrap();
    let layers = LayerStore::open(data.path(), LIMITS).unwrap();
    Fixture {
        data,
        blobs,
        layers,
    }
}

impl Fixture {
    fn unpack(&self, entries: &[Vec<u8>]) -> Result<PathBuf> {
        self.unpack_bytes(&archive(entries))
    }

    fn unpack_bytes(&self, bytes: &[u8]) -> Result<PathBuf> {
        let digest = self.blobs.put(bytes).unwrap();
        self.layers.ensure(
            &self.blobs,
            &Layer {
                blob: digest,
                diff_id: digest,
                packing: Packing::Plain,
            },
        )
    }

    /// Nothing but finished layers may be there, and the world outside is as it was.
    fn assert_clean(&self, layers: usize) {
        assert_eq!(
            std::fs::read_dir(self.data.path().join("layers"))
                .unwrap()
                .count(),
            layers
        );
        assert_eq!(
            std::fs::read_to_string(self.data.path().join("outside")).unwrap(),
            "untouched"
        );
        assert_eq!(std::fs::read_dir(self.data.path()).unwrap().count(), 3);
    }
}

#[test]
fn an_ordinary_layer_unpacks_with_modes_owners_times_and_links() {
    let f = fixture();
    let owner = pax(&[
        ("uid", b"1000"),
        ("gid", b"1001"),
        ("SCHILY.xattr.user.a", b"b"),
    ]);
    let path = f
        .unpack(&[
            folder("./"),
            folder("bin"),
            entry(b'0', "bin/su", "", 0o4755, b"#!"),
            owner,
            file("home", b"x"),
            hard_link("bin/also", "bin/su"),
            symlink("sh", "/bin/su"),
            file("deep/down/here", b"y"),
        ])
        .unwrap();
    let su = std::fs::metadata(path.join("bin/su")).unwrap();
    assert_eq!(
        (su.mode() & 0o7777, su.nlink(), su.mtime()),
        (0o4755, 2, 1_000_000)
    );
    assert_eq!(
        std::fs::metadata(path.join("bin")).unwrap().mtime(),
        1_000_000
    );
    let home = std::fs::metadata(path.join("home")).unwrap();
    assert_eq!((home.uid(), home.gid()), (1000, 1001));
    assert_eq!(
        std::fs::read_link(path.join("sh")).unwrap(),
        Path::new("/bin/su")
    );
    assert_eq!(std::fs::read(path.join("deep/down/here")).unwrap(), b"y");
    assert_eq!(
        std::fs::metadata(f.data.path().join("layers"))
            .unwrap()
            .mode()
            & 0o777,
        0o700
    );
}

#[test]
fn whiteouts_become_overlayfs_form() {
    let f = fixture();
    let path = f
        .unpack(&[
            folder("etc"),
            file("etc/.wh.passwd", b""),
            folder("var"),
            file("var/.wh..wh..opq", b""),
            file("var/new", b"n"),
            file(".wh.again", b""),
            folder("again"),
            file("kept", b"k"),
            file(".wh.kept", b""),
            file(".wh..wh.plnk", b""),
        ])
        .unwrap();
    let gone = std::fs::symlink_metadata(path.join("etc/passwd")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let is_opaque = |name: &str| {
        let mut value = [0; 8];
        let read = rustix::fs::getxattr(path.join(name), OVERLAY_OPAQUE, &mut value[..]);
        read == Ok(1) && value[0] == b'y'
    };
    assert!(is_opaque("var") && is_opaque("again") && !is_opaque("etc"));
    assert_eq!(std::fs::read(path.join("kept")).unwrap(), b"k");
    assert!(!path.join(".wh..wh.plnk").exists() && !path.join("var/.wh..wh..opq").exists());
}

#[test]
fn escapes_are_refused_or_stay_inside() {
    let f = fixture();
    for hostile in [
        vec![file("../outside", b"owned")],
        vec![file("a/../../../outside", b"owned")],
        vec![hard_link("stolen", "../../outside")],
        vec![symlink("up", "../.."), hard_link("stolen", "up/outside")],
        vec![
            symlink("up", "../.."),
            file("up/dangling/../outside", b"owned"),
        ],
        vec![pax(&[("path", b"../outside")]), file("innocent", b"owned")],
        vec![
            pax(&[("linkpath", b"../../outside")]),
            hard_link("innocent", "x"),
        ],
        vec![file("a\0b", b"")]
            .into_iter()
            .map(|_| pax(&[("path", b"a\0b")]))
            .chain([file("x", b"")])
            .collect(),
    ] {
        assert!(f.unpack(&hostile).is_err());
        f.assert_clean(0);
    }
    // Links that lead out on the host lead to the layer's own root here.
    for (at, inside) in [
        (
            vec![symlink("up", "../.."), file("up/outside", b"owned")],
            "outside",
        ),
        (
            vec![symlink("etc", "/"), file("etc/outside", b"owned")],
            "outside",
        ),
        (vec![file("/outside", b"owned")], "outside"),
        (
            vec![
                symlink("outside", "../../outside"),
                file("outside", b"owned"),
            ],
            "outside",
        ),
    ] {
        let path = f.unpack(&at).unwrap();
        assert_eq!(std::fs::read(path.join(inside)).unwrap(), b"owned");
        assert!(
            !std::fs::symlink_metadata(path.join(inside))
                .unwrap()
                .is_symlink()
        );
        std::fs::remove_dir_all(path).unwrap();
        f.assert_clean(0);
    }
}

#[test]
fn device_nodes_and_wrong_kinds_are_refused() {
    let f = fixture();
    for hostile in [
        vec![entry(b'3', "dev/null", "", 0o666, b"")],
        vec![entry(b'4', "dev/sda", "", 0o666, b"")],
        vec![file("a", b""), file("a/b", b"")],
        vec![folder("d"), hard_link("link", "d")],
        vec![hard_link("link", "missing")],
        vec![file(".wh.", b"")],
        vec![file(".wh...", b"")],
        vec![file(".", b"")],
    ] {
        assert!(f.unpack(&hostile).is_err());
        f.assert_clean(0);
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let f = fixture();
    let path = f
        .unpack(&[
            file("a", b"1"),
            file("a", b"2"),
            file("d/x/y", b""),
            file("d", b"file"),
            symlink("l", "d"),
            folder("l"),
        ])
        .unwrap();
    assert_eq!(std::fs::read(path.join("a")).unwrap(), b"2");
    assert_eq!(std::fs::read(path.join("d")).unwrap(), b"file");
    assert!(std::fs::symlink_metadata(path.join("l")).unwrap().is_dir());
}

#[test]
fn overlay_attributes_are_dropped() {
    let f = fixture();
    let hostile = pax(&[
        ("SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
        ("SCHILY.xattr.user.overlay.x", b"y"),
    ]);
    let path = f.unpack(&[hostile, folder("d")]).unwrap();
    let mut names = [0; 256];
    assert_eq!(
        rustix::fs::listxattr(path.join("d"), &mut names[..]).unwrap(),
        0
    );
}

#[test]
fn limits_hold() {
    let f = fixture();
    let bomb = vec![0; (LIMITS.bytes + 1) as usize];
    assert!(matches!(
        f.unpack(&[file("big", &bomb)]),
        Err(LayerError::TooManyBytes { .. })
    ));
    let mut trailing = archive(&[file("a", b"")]);
    trailing.resize(bomb.len(), 0);
    assert!(matches!(
        f.unpack_bytes(&trailing),
        Err(LayerError::TooManyBytes { .. })
    ));
    let many: Vec<_> = (0..=LIMITS.entries)
        .map(|n| file(&format!("f{n}"), b""))
        .collect();
    assert!(matches!(
        f.unpack(&many),
        Err(LayerError::TooManyEntries { .. })
    ));
    f.assert_clean(0);
}

#[test]
fn a_lying_diff_id_is_refused() {
    let f = fixture();
    let blob = f.blobs.put(&archive(&[file("a", b"")])).unwrap();
    let layer = Layer {
        blob,
        diff_id: Digest::of(b"other"),
        packing: Packing::Plain,
    };
    assert!(matches!(
        f.layers.ensure(&f.blobs, &layer),
        Err(LayerError::DiffId { .. })
    ));
    f.assert_clean(0);
}

#[test]
fn gzip_is_unpacked_and_its_damage_noticed() {
    let f = fixture();
    let plain = archive(&[file("a", b"content")]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    let diff_id = Digest::of(&plain);
    let unpack = |bytes: &[u8]| {
        let blob = f.blobs.put(bytes).unwrap();
        f.layers.ensure(
            &f.blobs,
            &Layer {
                blob,
                diff_id,
                packing: Packing::Gzip,
            },
        )
    };
    assert!(unpack(&packed[..packed.len() - 4]).is_err());
    assert!(unpack(&plain).is_err());
    assert_eq!(
        std::fs::read(unpack(&packed).unwrap().join("a")).unwrap(),
        b"content"
    );
}

#[test]
fn concurrent_callers_unpack_once() {
    let f = fixture();
    let blob = f
        .blobs
        .put(&archive(&[file("a", b"x"), folder("d")]))
        .unwrap();
    let layer = Layer {
        blob,
        diff_id: blob,
        packing: Packing::Plain,
    };
    let inodes: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    std::fs::metadata(f.layers.ensure(&f.blobs, &layer).unwrap())
                        .unwrap()
                        .ino()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(inodes.windows(2).all(|pair| pair[0] == pair[1]));
    f.assert_clean(1);
}

#[test]
fn what_a_crash_left_is_swept() {
    let f = fixture();
    std::fs::create_dir_all(f.data.path().join("layers/.partial-x-1-2/etc")).unwrap();
    std::fs::create_dir_all(f.data.path().join("layers/.removed-x-1/etc")).unwrap();
    f.layers.sweep().unwrap();
    f.assert_clean(0);
}

#[test]
fn layers_that_nothing_names_are_removed() {
    let f = fixture();
    let kept = f.unpack(&[file("kept", b"")]).unwrap();
    f.unpack(&[file("gone", b"")]).unwrap();
    let digest = format!("sha256:{}", kept.file_name().unwrap().to_string_lossy())
        .parse()
        .unwrap();
    let aside = f.layers.set_aside(&HashSet::from([digest])).unwrap();
    assert_eq!(aside.len(), 1);
    f.layers.remove(aside).unwrap();
    assert!(kept.join("kept").exists());
    f.assert_clean(1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever sequence of entries comes, nothing outside changes and nothing half-made stays.
    #[test]
    fn no_sequence_of_entries_escapes(
        entries in prop::collection::vec((0_u8..6, "[a-c./]{1,8}", "(\\.\\./|/)?[a-c./]{1,8}(outside)?"), 1..12)
    ) {
        let f = fixture();
        let built: Vec<_> = entries
            .iter()
            .map(|(kind, path, link)| match kind {
                0 => file(path, b"content"),
                1 => folder(path),
                2 | 3 => symlink(path, link),
                4 => hard_link(path, link),
                _ => file(&format!("{path}/.wh.a"), b""),
            })
            .collect();
        let unpacked = f.unpack(&built).is_ok();
        f.assert_clean(usize::from(unpacked));
        prop_assert_eq!(std::fs::metadata(f.data.path().join("outside")).unwrap().nlink(), 1);
    }
}

#[test]
fn times_of_folders_take_a_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer {
        root: Root::open(folder.path()).unwrap(),
        folder_times: Vec::new(),
        folder_times_bytes: 0,
        unpacked: Unpacked::default(),
    };
    let long = PathBuf::from("a/".repeat(2000));
    for _ in 0..20_000 {
        writer.remember_time(&long, 0);
    }
    let held = writer.folder_times.len() * long.as_os_str().len();
    assert!(held > 1 << 20 && held <= FOLDER_TIMES_MAX_BYTES, "{held}");
}
