//! The agent's part: takes connections, finds containers, starts sessions.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fogbank_types::exec_frame::{self, Kind};
use fogbank_types::status::TaskPhase;
use fogbank_types::{RegionConfig, Snapshot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::session::{Order, VARIABLE};
use super::{Request, SOCKET};

const PATIENCE: Duration = Duration::from_secs(5);
const LINE_BYTES_MAX: usize = 256 << 10;
const RETRY: Duration = Duration::from_millis(200);

/// Serves until the agent ends.
pub async fn serve(config: Arc<RegionConfig>, rows: watch::Receiver<Snapshot>) {
    let path = config.run_dir.join(SOCKET);
    let listener = loop {
        match bind(&path) {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "no commands in containers");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (config, rows) = (Arc::clone(&config), rows.clone());
                tokio::spawn(async move {
                    if let Err(error) = begin(&config, &rows, stream).await {
                        tracing::warn!(%error, "a session is not begun");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting sessions");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn begin(
    config: &RegionConfig,
    rows: &watch::Receiver<Snapshot>,
    mut stream: UnixStream,
) -> io::Result<()> {
    let line = timeout(PATIENCE, read_line(&mut stream)).await??;
    let request: Request = serde_json::from_slice(&line)?;
    let snapshot = rows.borrow().clone();
    let Some(order) = order(config, &snapshot, &request) else {
        let frame = exec_frame::encode(Kind::Error, b"the container is not running");
        return stream.write_all(&frame).await;
    };
    let order = serde_json::to_string(&order)?;
    let socket = stream.into_std()?;
    let mut command = std::process::Command::new("/proc/self/exe");
    let bundle = config.data_dir.join("tasks").join(&request.task);
    command
        .arg0("fogbank")
        .args(["exec-session", "--bundle"])
        .arg(bundle)
        .env(VARIABLE, order)
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let mut child = tokio::process::Command::from(command).spawn()?;
    // Reaped when it ends; should the agent end first, it becomes init's.
    tokio::spawn(async move { child.wait().await });
    Ok(())
}

/// A byte at a time: what follows the line is the session's.
async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(line),
            _ if line.len() >= LINE_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            byte => line.push(byte),
        }
    }
}

/// What the session is told; `None` if there is no such container on this host.
fn order(config: &RegionConfig, snapshot: &Snapshot, request: &Request) -> Option<Order> {
    let mut tasks = snapshot.tasks.all();
    let task = tasks.find(|task| task.id == request.task && task.host == config.host)?;
    let status = snapshot.task_statuses.get(&task.scope, &task.id)?;
    let mut containers = status.containers.iter();
    let container = containers.find(|container| {
        container.name == request.container && container.phase != TaskPhase::Stopped
    })?;
    Some(Order {
        cgroup: format!(
            "{}/{}/{}",
            crate::task::instance_cgroup(config),
            task.id,
            crate::shim::group_name(&container.name)
        ),
        container: container.name.clone(),
        pid: container.pid?,
        command: request.command.clone(),
    })
}
