//! A task's images: those that are here, and those that are pulled over the task's own network.
//!
//! Called by `life` once the task's network was found to reach the registry.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fogbank_store::blob::Digest;
use fogbank_types::Snapshot;
use fogbank_types::ecs::{ContainerDefinition, Task};

use super::Host;
use super::life::chain;
use super::plan::{Plan, Planned};
use super::reference::Source;
use super::secrets;
use crate::oci::Platform;
use crate::oci::pull::{self, Credentials, Place, Progress, PullError, RemoteImage};

/// A pull that may go better is tried again this often, after this time.
const RETRIES: u32 = 3;
const PAUSE_MS: u64 = 2_000;
/// How often a pull says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Pulls under way, by image, so that tasks that start together fetch an image once.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Pulls {
    fn lock_of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = pulls.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        pulls.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// An image all of whose blobs are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// In the region's own registry.
    Here(Digest),
    /// In the host's cache.
    Pulled(Digest),
}

/// Each container's image, in order, if none is to be pulled.
pub fn here(plan: &Plan) -> Option<Vec<Brought>> {
    let digest = |container: &Planned| match container.image {
        Source::Here(digest) => Some(Brought::Here(digest)),
        Source::Remote(_) => None,
    };
    plan.containers.iter().map(digest).collect()
}

/// Each container's image, in order; the error is the reason that ECS gives. Under a `Use` of the cache.
pub async fn bring(host: &Arc<Host>, plan: &Plan) -> Result<Vec<Brought>, String> {
    let mut brought = Vec::with_capacity(plan.containers.len());
    for container in &plan.containers {
        brought.push(match &container.image {
            Source::Here(digest) => Brought::Here(*digest),
            Source::Remote(image) => {
                Brought::Pulled(bring_one(host, plan, image, container.login.as_ref()).await?)
            }
        });
    }
    Ok(brought)
}

async fn bring_one(
    host: &Arc<Host>,
    plan: &Plan,
    image: &RemoteImage,
    login: Option<&Credentials>,
) -> Result<Digest, String> {
    let lock = host.pulls.lock_of(&image.name);
    let _alone = lock.lock().await;
    let pause = Duration::from_millis(host.config.scaled_ms(PAUSE_MS).max(50));
    let mut tries = 0;
    loop {
        let error = match pull_once(host, plan, image, login).await {
            Ok(digest) => return Ok(digest),
            Err(error) => error,
        };
        tries += 1;
        if tries > RETRIES || !error.may_pass() {
            let name = &image.name;
            let shown = match &error {
                PullError::NotFound => format!("{name}: not found"),
                other => chain(other),
            };
            return Err(format!(
                "CannotPullContainerError: pull image manifest has been retried {tries} time(s): failed to resolve ref {name}: {shown}"
            ));
        }
        tokio::time::sleep(pause).await;
    }
}

async fn pull_once(
    host: &Arc<Host>,
    plan: &Plan,
    image: &RemoteImage,
    login: Option<&Credentials>,
) -> Result<Digest, PullError> {
    let place = Place {
        netns: plan.netns.clone(),
        data_folder: host.config.data_dir.clone(),
        cache: Arc::clone(&host.cache),
        platform: Platform::host(),
    };
    let progress = Arc::new(Progress::default());
    let (wanted, login, shared) = (image.clone(), login.cloned(), Arc::clone(&progress));
    tracing::info!(image = image.name, task = plan.task.id, "pulling");
    let mut pulling =
        tokio::task::spawn_blocking(move || pull::pull(&place, &wanted, login.as_ref(), &shared));
    loop {
        match tokio::time::timeout(PROGRESS, &mut pulling).await {
            Ok(Ok(result)) => return result,
            Ok(Err(error)) => return Err(PullError::Namespace(std::io::Error::other(error))),
            Err(_) => {
                let done = progress.done.load(Ordering::Relaxed) >> 20;
                let total = progress.total.load(Ordering::Relaxed) >> 20;
                tracing::info!(image = image.name, "pulled {done} of {total} MiB");
            }
        }
    }
}

/// The user that a container's `repositoryCredentials` name: a secret with `username` and `password`.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html>
pub fn login(
    snapshot: &Snapshot,
    task: &Task,
    container: &ContainerDefinition,
) -> Result<Option<Credentials>, String> {
    let Some(from) = &container.repository_credentials else {
        return Ok(None);
    };
    let refused = |why: &str| secrets::from_asm(from, why);
    let text = secrets::managed(snapshot, &task.scope, from).map_err(|why| refused(&why))?;
    let user: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let field = |name: &str| Some(user.as_ref()?.get(name)?.as_str()?.to_owned());
    match (field("username"), field("password")) {
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        _ => Err(refused("the secret has no username and password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_of_one_image_wait_for_each_other_and_those_of_another_do_not() {
        let pulls = Pulls::default();
        let first = pulls.lock_of("a");
        let held = first.try_lock().unwrap();
        assert!(pulls.lock_of("a").try_lock().is_err());
        assert!(pulls.lock_of("b").try_lock().is_ok());
        drop(held);
        assert!(pulls.lock_of("a").try_lock().is_ok());
        drop(first);
        pulls.lock_of("c");
        assert_eq!(
            pulls.0.lock().unwrap().len(),
            1,
            "what is over is forgotten"
        );
    }
}
