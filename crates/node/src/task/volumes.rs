//! Which folders of a task's storage its containers have, and where: pure, from definitions and images.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>

use std::path::{Component, Path, PathBuf};

use fogbank_types::ecs::ContainerDefinition;

use crate::sandbox::VolumeMount;

/// A container's definition and the paths that its image declares as volumes.
pub struct Declared<'a> {
    pub definition: &'a ContainerDefinition,
    pub image_volumes: Vec<&'a str>,
}

/// The mounts of each container, in the order given.
pub fn mounts(containers: &[Declared<'_>]) -> Vec<Vec<VolumeMount>> {
    (0..containers.len())
        .map(|index| of_container(containers, index, &mut vec![index]))
        .collect()
}

/// A container's own mount points count first, then its image's volumes, then what it takes from others; at one place there
/// is one.
fn of_container(
    containers: &[Declared<'_>],
    index: usize,
    asked: &mut Vec<usize>,
) -> Vec<VolumeMount> {
    let container = &containers[index];
    let mut found: Vec<VolumeMount> = Vec::new();
    let image: Vec<PathBuf> = container.image_volumes.iter().map(clean).collect();
    let own = container.definition.mount_points.iter().map(|point| {
        let target = clean(&point.container_path);
        VolumeMount {
            volume: format!("task-{}", point.source_volume),
            seeded: image.contains(&target),
            target,
            read_only: point.read_only.unwrap_or(false),
        }
    });
    let declared = image
        .iter()
        .enumerate()
        .map(|(number, target)| VolumeMount {
            volume: format!("image-{index}-{number}"),
            target: target.clone(),
            read_only: false,
            seeded: true,
        });
    add(&mut found, own.chain(declared));
    for from in &container.definition.volumes_from {
        let source = containers
            .iter()
            .position(|other| other.definition.name == from.source_container);
        // One that takes from itself, over whatever others, has nothing to add.
        let Some(source) = source.filter(|source| !asked.contains(source)) else {
            continue;
        };
        asked.push(source);
        let mut theirs = of_container(containers, source, asked);
        asked.pop();
        for mount in &mut theirs {
            mount.read_only |= from.read_only.unwrap_or(false);
        }
        add(&mut found, theirs.into_iter());
    }
    found
}

fn add(found: &mut Vec<VolumeMount>, more: impl Iterator<Item = VolumeMount>) {
    for mount in more {
        if !found.iter().any(|have| have.target == mount.target) {
            found.push(mount);
        }
    }
}

/// As Docker cleans it: absolute, without `.` and `..`.
fn clean(path: &(impl AsRef<str> + ?Sized)) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in Path::new(path.as_ref()).components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::ecs::{MountPoint, VolumeFrom};

    fn container(
        name: &str,
        points: &[(&str, &str, bool)],
        from: &[(&str, bool)],
    ) -> ContainerDefinition {
        ContainerDefinition {
            name: name.to_owned(),
            mount_points: points
                .iter()
                .map(|(volume, path, read_only)| MountPoint {
                    source_volume: (*volume).to_owned(),
                    container_path: (*path).to_owned(),
                    read_only: Some(*read_only),
                })
                .collect(),
            volumes_from: from
                .iter()
                .map(|(source, read_only)| VolumeFrom {
                    source_container: (*source).to_owned(),
                    read_only: Some(*read_only),
                })
                .collect(),
            ..ContainerDefinition::default()
        }
    }

    /// `volume:target` with `:ro` and `:seeded`.
    fn shown(all: &[(ContainerDefinition, &[&'static str])]) -> Vec<Vec<String>> {
        let declared: Vec<_> = all
            .iter()
            .map(|(definition, volumes)| Declared {
                definition,
                image_volumes: volumes.to_vec(),
            })
            .collect();
        let show = |mount: &VolumeMount| {
            let target = mount.target.display();
            let read_only = if mount.read_only { ":ro" } else { "" };
            let seeded = if mount.seeded { ":seeded" } else { "" };
            format!("{}:{target}{read_only}{seeded}", mount.volume)
        };
        let mounts = mounts(&declared);
        let shown = mounts.iter().map(|all| all.iter().map(show).collect());
        shown.collect()
    }

    #[test]
    fn an_images_volume_is_its_own_unless_a_mount_point_takes_its_place() {
        let found = shown(&[(
            container(
                "a",
                &[("data", "/var/lib/x/", false), ("logs", "/logs", true)],
                &[],
            ),
            &["/var/lib/x", "/cache"],
        )]);
        assert_eq!(
            found[0],
            [
                "task-data:/var/lib/x:seeded",
                "task-logs:/logs:ro",
                "image-0-1:/cache:seeded"
            ]
        );
    }

    #[test]
    fn volumes_are_taken_from_others_over_others() {
        let found = shown(&[
            (
                container("a", &[("data", "/data", false)], &[]),
                &["/cache"],
            ),
            (
                container("b", &[("own", "/cache", false)], &[("a", true)]),
                &[],
            ),
            (container("c", &[], &[("b", false)]), &[]),
        ]);
        assert_eq!(found[1], ["task-own:/cache", "task-data:/data:ro"]);
        assert_eq!(found[2], ["task-own:/cache", "task-data:/data:ro"]);
    }

    #[test]
    fn a_circle_and_an_unknown_name_end() {
        let found = shown(&[
            (
                container("a", &[("x", "/x", false)], &[("b", false), ("a", false)]),
                &[],
            ),
            (container("b", &[], &[("a", false), ("nobody", false)]), &[]),
        ]);
        assert_eq!(found, [["task-x:/x"], ["task-x:/x"]]);
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in [
            ("a/./b", "/a/b"),
            ("/../../etc/", "/etc"),
            ("//x//y", "/x/y"),
        ] {
            assert_eq!(clean(path), Path::new(cleaned), "{path}");
        }
    }
}
