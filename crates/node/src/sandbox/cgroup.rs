//! Control groups: limits, out-of-memory counts and the certain end of a process tree, on v1, v2 and hybrid hosts.
//!
//! A group is one path, `fogbank/<instance>/<task>/<container>`, in every hierarchy that has a controller we use and in the
//! unified one. The shim makes and enters groups; the agent kills and removes what a dead shim left. What must stay true:
//! nothing outside `fogbank*` is ever written to, except a controller switched on for children on v2.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// Why a group can't be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("no cgroup file system is mounted")]
    None,
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("processes of cgroup {0} do not end")]
    Alive(String),
}

type Result<T> = std::result::Result<T, CgroupError>;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.display().to_string();
    move |source| CgroupError::Io {
        operation,
        path,
        source,
    }
}

/// Controllers that limits need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Of the controllers that a container may see, for programs that size themselves by their limits.
const SHOWN: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// What a group may use; `None` is no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Hard limit in CPU units, 1024 a vCPU.
    pub cpu_units: Option<u32>,
    /// Share against siblings when the CPU is contended, in CPU units.
    pub cpu_shares: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub pids: Option<u32>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    root: PathBuf,
    /// The unified hierarchy (v2).
    unified: bool,
    /// Those of [`CONTROLLERS`] (and the freezer) that it has.
    controllers: Vec<String>,
}

/// The hierarchies of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    mounts: Vec<Mount>,
    shown: Vec<String>,
}

impl Hierarchies {
    /// Looks at what is mounted.
    pub fn detect() -> Result<Self> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(failed("read", path))?;
        let found = Self::parse(&text, |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        });
        if found.mounts.is_empty() {
            Err(CgroupError::None)
        } else {
            Ok(found)
        }
    }

    fn parse(mountinfo: &str, controllers_of: impl Fn(&Path) -> String) -> Self {
        let mut mounts: Vec<Mount> = Vec::new();
        let mut shown = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let (Some(target), mut right) = (left.split(' ').nth(4), right.split(' ')) else {
                continue;
            };
            let (Some(kind), Some(options)) = (right.next(), right.nth(1)) else {
                continue;
            };
            let root = PathBuf::from(target);
            let (unified, offered) = match kind {
                "cgroup2" => (true, controllers_of(&root)),
                "cgroup" => (false, options.replace(',', " ")),
                _ => continue,
            };
            let offered: Vec<&str> = offered.split_whitespace().collect();
            if !unified {
                shown.extend(
                    SHOWN
                        .iter()
                        .filter(|name| offered.contains(name))
                        .map(|name| (*name).to_owned()),
                );
            }
            let wanted =
                |name: &&str| offered.contains(name) && !mounts.iter().any(|mount| mount.has(name));
            let mut controllers: Vec<String> = CONTROLLERS
                .iter()
                .copied()
                .filter(wanted)
                .map(str::to_owned)
                .collect();
            if !unified && offered.contains(&"freezer") {
                controllers.push("freezer".to_owned());
            }
            if (unified && !mounts.iter().any(|mount| mount.unified)) || !controllers.is_empty() {
                mounts.push(Mount {
                    root,
                    unified,
                    controllers,
                });
            }
        }
        Self { mounts, shown }
    }

    /// Controllers that this host lacks: the limits it can't honour.
    pub fn missing(&self) -> Vec<&'static str> {
        CONTROLLERS
            .into_iter()
            .filter(|name| !self.mounts.iter().any(|mount| mount.has(name)))
            .collect()
    }

    /// `v1`, `v2` or `hybrid`.
    pub fn layout(&self) -> &'static str {
        match (
            self.mounts.iter().any(|mount| mount.unified),
            self.mounts.iter().all(|mount| mount.unified),
        ) {
            (_, true) => "v2",
            (true, false) => "hybrid",
            (false, false) => "v1",
        }
    }

    /// The group of this path, whether it exists or not. The path must be relative and plain.
    pub fn group(&self, path: &str) -> Group {
        debug_assert!(path.starts_with("fogbank") && !path.contains(".."));
        Group {
            path: path.to_owned(),
            mounts: self.mounts.clone(),
            shown: self.shown.clone(),
        }
    }
}

impl Mount {
    pub(super) fn is_unified(&self) -> bool {
        self.unified
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// A group, in every hierarchy.
#[derive(Clone, Debug)]
pub struct Group {
    path: String,
    mounts: Vec<Mount>,
    shown: Vec<String>,
}

/// Open doors of a group for a process about to be cloned.
pub struct Entry {
    unified: Option<OwnedFd>,
    tasks: Vec<File>,
    shown: Vec<String>,
}

impl Entry {
    /// The unified hierarchy's folder, for CLONE_INTO_CGROUP.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(OwnedFd::as_fd)
    }

    /// Moves the calling, single-threaded process into the v1 hierarchies. Writing "0" to `tasks` moves one thread without
    /// the kernel's global lock, which costs milliseconds when another's pid is written to `cgroup.procs`.
    pub fn enter(&self) -> io::Result<()> {
        self.tasks
            .iter()
            .try_for_each(|mut tasks| tasks.write_all(b"0"))
    }

    /// v1 controllers to mount in the container.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }
}

impl Group {
    pub(super) fn folders(&self) -> impl Iterator<Item = (&Mount, PathBuf)> {
        self.mounts
            .iter()
            .map(|mount| (mount, mount.root.join(&self.path)))
    }

    /// The child group of this name.
    pub fn child(&self, name: &str) -> Group {
        Group {
            path: format!("{}/{name}", self.path),
            ..self.clone()
        }
    }

    /// Makes the group and its parents, and sets its limits. Existing ones are taken over.
    pub fn create(&self, limits: &Limits) -> Result<()> {
        for (mount, folder) in self.folders() {
            if mount.unified {
                delegate(mount, &folder)?;
            }
            fs::create_dir_all(&folder).map_err(failed("make cgroup", &folder))?;
            if mount.has("memory") {
                limit_memory(mount, &folder, limits)?;
            }
            if mount.has("cpu") {
                limit_cpu(mount, &folder, limits)?;
            }
            if let Some(pids) = limits.pids.filter(|_| mount.has("pids")) {
                set(&folder, "pids.max", &pids.to_string())?;
            }
        }
        Ok(())
    }

    /// Whether both are the same group.
    pub fn is(&self, other: &Group) -> bool {
        self.path == other.path
    }

    /// Makes the group below one that has processes, without limits of its own: on v2 no controller can be passed on to it,
    /// and all of the parent's hold it all the same.
    pub fn create_within(&self) -> Result<()> {
        for (_, folder) in self.folders() {
            fs::create_dir_all(&folder).map_err(failed("make cgroup", &folder))?;
        }
        Ok(())
    }

    /// Opens the doors of the group.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry {
            unified: None,
            tasks: Vec::new(),
            shown: self.shown.clone(),
        };
        for (mount, folder) in self.folders() {
            if mount.unified {
                let opened = File::open(&folder).map_err(failed("open cgroup", &folder))?;
                entry.unified = Some(opened.into());
            } else {
                let path = folder.join("tasks");
                entry.tasks.push(
                    OpenOptions::new()
                        .write(true)
                        .open(&path)
                        .map_err(failed("open", &path))?,
                );
            }
        }
        Ok(entry)
    }

    /// The unified hierarchy's door for a process that is there already: it writes "0" to it.
    pub fn processes_file(&self) -> Result<Option<File>> {
        for (mount, folder) in self.folders() {
            if mount.unified {
                let path = folder.join("cgroup.procs");
                let opened = OpenOptions::new().write(true).open(&path);
                return opened.map(Some).map_err(failed("open", &path));
            }
        }
        Ok(None)
    }

    /// How many processes of the group the kernel killed for lack of memory.
    pub fn out_of_memory_kills(&self) -> u64 {
        let read = |(mount, folder): (&Mount, PathBuf)| {
            let file = if mount.unified {
                "memory.events"
            } else {
                "memory.oom_control"
            };
            let text = fs::read_to_string(folder.join(file)).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("oom_kill "))?
                .trim()
                .parse()
                .ok()
        };
        self.folders()
            .filter(|(mount, _)| mount.has("memory"))
            .find_map(read)
            .unwrap_or(0)
    }

    /// Every process in the group and below, in any hierarchy.
    pub fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        for (_, folder) in self.folders() {
            visit(&folder, &mut |folder| {
                let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                found.extend(
                    text.lines()
                        .filter_map(|line| line.parse().ok())
                        .filter_map(Pid::from_raw),
                );
            });
        }
        found.sort_unstable_by_key(|pid: &Pid| pid.as_raw_pid());
        found.dedup();
        found
    }

    /// Kills every process in the group and below and waits until none is left. A group that isn't there is fine.
    pub fn kill(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            // `cgroup.kill` (Linux 5.14) also gets those that fork meanwhile; the loop gets them on older kernels.
            let killed = self
                .folders()
                .filter(|(mount, _)| mount.unified)
                .any(|(_, folder)| fs::write(folder.join("cgroup.kill"), "1").is_ok());
            if !killed {
                self.freeze("FROZEN");
                for process in processes {
                    let _ = rustix::process::kill_process(process, Signal::KILL);
                }
                self.freeze("THAWED");
            }
            if Instant::now() > deadline {
                return Err(CgroupError::Alive(self.path.clone()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// For processes that were killed: takes the bound of processor time off, which they need some of to die (thousands
    /// of a fork bomb, held to a quarter of a processor, took minutes), and lets no more be born.
    pub fn hasten_end(&self) {
        // A group that is gone needs neither.
        for (mount, folder) in self.folders() {
            if mount.has("cpu") {
                let _ = if mount.unified {
                    fs::write(folder.join("cpu.max"), format!("max {PERIOD_US}"))
                } else {
                    fs::write(folder.join("cpu.cfs_quota_us"), "-1")
                };
            }
            if mount.has("pids") {
                let _ = fs::write(folder.join("pids.max"), "0");
            }
        }
    }

    fn freeze(&self, state: &str) {
        for (_, folder) in self.folders().filter(|(mount, _)| mount.has("freezer")) {
            let _ = fs::write(folder.join("freezer.state"), state);
        }
    }

    /// Whether it exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.folders().any(|(_, folder)| folder.is_dir())
    }

    /// Names of the groups directly below, in any hierarchy.
    pub fn children(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .folders()
            .filter_map(|(_, folder)| fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Removes the group and all below it. Its processes must be gone; just ended ones are waited for.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        for (_, folder) in self.folders() {
            let mut all = Vec::new();
            visit(&folder, &mut |folder| all.push(folder.to_path_buf()));
            for folder in all.iter().rev() {
                remove_folder(folder, deadline)?;
            }
        }
        Ok(())
    }

    /// Removes the group if nothing is in it; used for the parents that many tasks share.
    pub fn remove_if_empty(&self) {
        for (_, folder) in self.folders() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn remove_folder(folder: &Path, deadline: Instant) -> Result<()> {
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that has just ended holds its group until it is reaped.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(failed("remove cgroup", folder)(error)),
        }
    }
}

/// The folder and all below it, parents first.
fn visit(folder: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    each(folder);
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), each);
        }
    }
}

/// On v2 a controller works in a group only if every ancestor passes it on.
fn delegate(mount: &Mount, folder: &Path) -> Result<()> {
    let below = folder.strip_prefix(&mount.root).unwrap_or(folder);
    let mut parent = mount.root.clone();
    for part in below.components() {
        fs::create_dir_all(&parent).map_err(failed("make cgroup", &parent))?;
        for controller in &mount.controllers {
            let file = parent.join("cgroup.subtree_control");
            let has = fs::read_to_string(&file)
                .is_ok_and(|have| have.split_whitespace().any(|name| name == controller));
            if !has {
                set(&parent, "cgroup.subtree_control", &format!("+{controller}"))?;
            }
        }
        parent.push(part);
    }
    Ok(())
}

fn set(folder: &Path, file: &'static str, value: &str) -> Result<()> {
    let path = folder.join(file);
    fs::write(&path, value).map_err(failed("write", &path))
}

fn limit_memory(mount: &Mount, folder: &Path, limits: &Limits) -> Result<()> {
    let Some(bytes) = limits.memory_bytes.map(|bytes| bytes.to_string()) else {
        return Ok(());
    };
    if mount.unified {
        set(folder, "memory.max", &bytes)?;
        // Fargate has no swap; hosts without it lack the file.
        return if folder.join("memory.swap.max").exists() {
            set(folder, "memory.swap.max", "0")
        } else {
            Ok(())
        };
    }
    set(folder, "memory.limit_in_bytes", &bytes)?;
    let swap = folder.join("memory.memsw.limit_in_bytes");
    if swap.exists() {
        set(folder, "memory.memsw.limit_in_bytes", &bytes)
    } else {
        Ok(())
    }
}

const PERIOD_US: u64 = 100_000;

fn limit_cpu(mount: &Mount, folder: &Path, limits: &Limits) -> Result<()> {
    if let Some(units) = limits.cpu_units {
        let quota = u64::from(units) * PERIOD_US / 1024;
        if mount.unified {
            set(folder, "cpu.max", &format!("{quota} {PERIOD_US}"))?;
        } else {
            set(folder, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
            set(folder, "cpu.cfs_quota_us", &quota.to_string())?;
        }
    }
    if let Some(shares) = limits.cpu_shares {
        let shares = u64::from(shares).clamp(2, 262_144);
        if mount.unified {
            // The mapping that container runtimes agreed on (OCI runtime-spec, "cpu.shares to cpu.weight").
            set(
                folder,
                "cpu.weight",
                &(1 + (shares - 2) * 9999 / 262_142).to_string(),
            )?;
        } else {
            set(folder, "cpu.shares", &shares.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_CPU: &str =
        "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct";
    const V1_MEMORY: &str = "31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
    const V1_PIDS: &str = "32 29 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids";
    const V1_FREEZER: &str = "33 29 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer";
    const V1_NAMED: &str = "34 29 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd";
    const UNIFIED: &str = "35 29 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const V2: &str = "35 29 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";

    fn parse(lines: &[&str], controllers: &str) -> Hierarchies {
        Hierarchies::parse(&lines.join("\n"), |_| controllers.to_owned())
    }

    #[test]
    fn the_three_layouts_are_told_apart() {
        let v1 = parse(&[V1_CPU, V1_MEMORY, V1_PIDS, V1_FREEZER, V1_NAMED], "");
        assert_eq!(
            (v1.layout(), v1.missing().len(), v1.mounts.len()),
            ("v1", 0, 4)
        );
        let hybrid = parse(
            &[V1_CPU, V1_MEMORY, V1_PIDS, V1_FREEZER, UNIFIED],
            "hugetlb",
        );
        assert_eq!(
            (hybrid.layout(), hybrid.missing().len(), hybrid.mounts.len()),
            ("hybrid", 0, 5)
        );
        assert_eq!(hybrid.shown, ["cpu", "cpuacct", "memory", "pids"]);
        let v2 = parse(&[V2], "cpuset cpu io memory pids");
        assert_eq!(
            (v2.layout(), v2.missing().len(), v2.shown.len()),
            ("v2", 0, 0)
        );
    }

    #[test]
    fn a_missing_controller_is_named() {
        assert_eq!(parse(&[V2], "cpu memory").missing(), ["pids"]);
        assert_eq!(
            parse(&["1 2 0:1 / /proc rw - proc proc rw"], "")
                .mounts
                .len(),
            0
        );
    }

    #[test]
    fn groups_are_limited_emptied_and_removed_on_this_host() {
        let hierarchies = Hierarchies::detect().unwrap();
        let name = format!("fogbank-test-{}-groups", std::process::id());
        let parent = hierarchies.group(&name);
        let group = parent.child("inner");
        parent
            .create(&Limits {
                memory_bytes: Some(64 << 20),
                pids: Some(100),
                ..Limits::default()
            })
            .unwrap();
        group
            .create(&Limits {
                cpu_units: Some(256),
                cpu_shares: Some(256),
                ..Limits::default()
            })
            .unwrap();
        assert_eq!(parent.children(), ["inner"]);
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("100")
            .spawn()
            .unwrap();
        for (mount, folder) in group.folders() {
            let file = if mount.unified {
                "cgroup.procs"
            } else {
                "tasks"
            };
            fs::write(folder.join(file), child.id().to_string()).unwrap();
        }
        assert_eq!(parent.processes().len(), 1);
        // The child is ours to reap: while it is a zombie the group still counts it, so kill and wait side by side.
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        parent.kill(Duration::from_secs(5)).unwrap();
        assert!(!reaper.join().unwrap().success());
        parent.remove(Duration::from_secs(5)).unwrap();
        assert!(!parent.exists());
        parent.remove(Duration::ZERO).unwrap();
        parent.kill(Duration::ZERO).unwrap();
    }
}
