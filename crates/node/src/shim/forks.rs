//! `fogbank shims`: forks a host's shims, so that they need not be executed.
//!
//! A shim that is executed pays for the program's start (its relocations, its pages) twice, with a seal in between, and keeps
//! its own copy of what the dynamic loader wrote. A forked one shares all of it. The agent starts one process for that, and it
//! ends with the agent; shims are its children until then, and init's afterwards. What must stay true:
//!
//! - It is single-threaded and does nothing but fork: no row, no configuration, no state.
//! - It stays in the host's mount namespace: a shim sees what is mounted when it begins.
//! - What was ordered is forked, also if the agent dies meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{SEALED, ShimError, run, seal};
use crate::sandbox;

const PATH_BYTES_MAX: usize = 4096;

/// The agent's side.
#[derive(Default)]
pub struct Shims {
    /// Where orders go; `None`: nobody listens yet.
    orders: Mutex<Option<OwnedFd>>,
}

impl Shims {
    /// Begins the shim of a bundle, with that standard input and error output.
    pub fn begin(&self, bundle: &Path, input: Option<OwnedFd>, errors: &File) -> io::Result<()> {
        let input = match input {
            Some(input) => input,
            None => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
        };
        let text = bundle.as_os_str().as_bytes();
        if text.len() > PATH_BYTES_MAX {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let files = [input.as_fd(), errors.as_fd()];
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*orders
            && sandbox::send_files(there.as_fd(), text, &files).is_ok()
        {
            return Ok(());
        }
        // The first time, or the one before was killed.
        let fresh = orders.insert(started()?);
        Ok(sandbox::send_files(fresh.as_fd(), text, &files)?)
    }
}

fn started() -> io::Result<OwnedFd> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The program as it is, also if its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg0("fogbank")
        .arg("shims")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    // A thread for the whole of an agent's life, but for those that somebody kills.
    std::thread::Builder::new()
        .name("shims' end".to_owned())
        .spawn(move || child.wait())?;
    Ok(ours)
}

/// The program; orders come by its standard input.
pub fn fork_all() -> Result<(), ShimError> {
    if std::env::var_os(SEALED).is_none() {
        return Err(seal(&["shims", sandbox::TITLE_ROOM], None, &[]));
    }
    let system = |operation| move |error: io::Error| ShimError::System(operation, error);
    // Signals to the agent's group are not for it.
    let _ = rustix::process::setsid();
    sandbox::bury_children();
    let orders = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)
        .map_err(|error| system("take the orders")(error.into()))?;
    loop {
        let mut text = [0; PATH_BYTES_MAX];
        let (length, files) = match sandbox::received_files(orders.as_fd(), &mut text) {
            Ok((0, _)) => return Ok(()),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(system("wait for orders")(error)),
        };
        let bundle = Path::new(std::ffi::OsStr::from_bytes(&text[..length]));
        let begun = sandbox::forked(|| child(bundle, &files));
        if let Err(error) = begun {
            // The agent finds that there is no shim.
            tracing::error!(bundle = %bundle.display(), %error, "no shim forked");
        }
    }
}

/// In the child: becomes the shim, and leaves nothing open of what its parent listens at: who orders must notice when that
/// is gone.
fn child(bundle: &Path, files: &[OwnedFd]) -> u8 {
    let [input, errors] = files else { return 1 };
    sandbox::set_title(&["fogbank", "shim", "--bundle", &bundle.to_string_lossy()]);
    let alone = rustix::stdio::dup2_stdin(input)
        .and_then(|()| rustix::stdio::dup2_stderr(errors))
        .and_then(|()| sandbox::close_others());
    let run = match alone {
        Ok(()) => run(bundle),
        Err(error) => Err(ShimError::System("take its streams", error.into())),
    };
    let Err(error) = run else { return 0 };
    let cause = std::error::Error::source(&error);
    tracing::error!(%error, cause, "shim");
    1
}
