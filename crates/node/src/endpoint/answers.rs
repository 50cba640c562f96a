//! From a request and the address that it came from to an answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fogbank_pki::Sessions;
use fogbank_types::ecs::Task;
use fogbank_types::status::{ContainerStatus, TaskPhase};
use fogbank_types::{RegionConfig, Snapshot, VpcId};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::metadata::{Known, third_version};
use super::stats::{Sample, Samples};
use super::throttle::Throttle;
use super::{credentials, protection, stats};
use crate::sandbox::Hierarchies;
use crate::task::{now, plan_definition};

const BODY_BYTES_MAX: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first look at a container to the second, if nobody has looked before.
const FIRST_STATS: Duration = Duration::from_secs(1);

/// What all doors share.
pub struct Answers {
    config: Arc<RegionConfig>,
    rows: watch::Receiver<Snapshot>,
    hierarchies: Hierarchies,
    sessions: Sessions,
    throttle: Mutex<Throttle>,
    samples: Mutex<Samples>,
}

type Answer = (u16, Value);

impl Answers {
    pub fn new(
        config: Arc<RegionConfig>,
        rows: watch::Receiver<Snapshot>,
        hierarchies: Hierarchies,
        sessions: Sessions,
    ) -> Self {
        Self {
            config,
            rows,
            hierarchies,
            sessions,
            throttle: Mutex::default(),
            samples: Mutex::default(),
        }
    }

    pub async fn answer(
        &self,
        vpc: &VpcId,
        client: IpAddr,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let snapshot = self.rows.borrow().clone();
        let Some(task) = asker(&snapshot, vpc, client) else {
            return response((404, json!("unknown client")));
        };
        let admitted = self
            .throttle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admits(&task.id, Instant::now());
        if !admitted {
            return response((429, json!("429 Too Many Requests")));
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_end_matches('/').to_owned();
        let parts: (&Method, Vec<&str>) = (&parts.method, path.split('/').skip(1).collect());
        let answer = match (parts.0, parts.1.as_slice()) {
            (&Method::GET, ["v2", "credentials", id]) => self.credentials(&snapshot, &task, id),
            (method, ["api", id, "task-protection", "v1", "state"]) => {
                match named(&snapshot, &task, id) {
                    Some(_) => self.protection(&task, method, body).await,
                    None => (404, unknown(id)),
                }
            }
            (&Method::GET, [version @ ("v3" | "v4"), id, rest @ ..]) => {
                self.metadata(&snapshot, &task, version, id, rest).await
            }
            _ => (404, json!("404 page not found")),
        };
        response(answer)
    }

    fn credentials(&self, snapshot: &Snapshot, task: &Task, id: &str) -> Answer {
        let refused = |message: &str| {
            let refusal =
                json!({"code": "InvalidIdInRequest", "message": message, "HTTPErrorCode": 400});
            (400, refusal)
        };
        if id != self.sessions.uuid(&task.id) {
            return refused("CredentialsV2Request: Credentials not found");
        }
        let role = plan_definition(snapshot, task)
            .and_then(|definition| credentials::role(snapshot, task, definition).ok().flatten());
        match role {
            Some(role) => {
                let document =
                    credentials::document(&self.sessions, &self.config, task, &role, now());
                (200, document)
            }
            None => refused("CredentialsV2Request: ID not found"),
        }
    }

    async fn protection(&self, task: &Task, method: &Method, body: Incoming) -> Answer {
        let body = match *method {
            Method::GET => None,
            Method::PUT => match read(body).await {
                Some(body) => Some(body),
                None => return (400, json!("the body can't be read")),
            },
            _ => return (405, json!("405 method not allowed")),
        };
        let asked = match protection::call(task, body.as_deref()) {
            Ok((operation, input)) => {
                protection::ask(&self.config.operator_socket(), task, operation, &input).await
            }
            Err(message) => {
                let refusal = json!({"error": {
                    "Arn": task.arn, "Code": "InvalidParameterException", "Message": message,
                }});
                return (400, refusal);
            }
        };
        protection::answer(task, asked)
    }

    async fn metadata(
        &self,
        snapshot: &Snapshot,
        task: &Arc<Task>,
        version: &str,
        id: &str,
        rest: &[&str],
    ) -> Answer {
        let status = snapshot.task_statuses.get(&task.scope, &task.id);
        let Some(definition) = plan_definition(snapshot, task) else {
            return (500, json!("the task definition is gone"));
        };
        let known = Known {
            snapshot,
            task,
            definition,
            status: status.map(|status| &**status),
        };
        let Some((container, found)) = known.container(id) else {
            return (404, unknown(id));
        };
        let mut document = match rest {
            [] => known.container_document(container, found),
            ["task"] => known.task_document(self.storage(&known).await),
            ["taskWithTags"] => known.task_with_tags(self.storage(&known).await),
            ["stats"] => match self.stats(task, std::slice::from_ref(found)).await {
                Ok(all) => all.into_values().next().unwrap_or_default(),
                Err(answer) => return answer,
            },
            ["task", "stats"] => {
                let all = status.map(|s| s.containers.as_slice()).unwrap_or_default();
                match self.stats(task, all).await {
                    Ok(all) => all.into(),
                    Err(answer) => return answer,
                }
            }
            _ => return (404, json!("404 page not found")),
        };
        if version == "v3" && !rest.contains(&"stats") {
            third_version(&mut document);
        }
        (200, document)
    }

    /// MiB that the task's containers have written.
    async fn storage(&self, known: &Known<'_>) -> Option<u64> {
        let bundle = self.config.data_dir.join("tasks").join(&known.task.id);
        let containers = known.status.map(|status| status.containers.as_slice());
        let pid = containers.and_then(|all| all.iter().find_map(|c| c.pid));
        let reserved = known.storage_mib() << 20;
        let counted = tokio::task::spawn_blocking(move || {
            pid.and_then(|pid| super::storage::used_bytes(pid, reserved))
                .unwrap_or_else(|| super::storage::written_bytes(&bundle))
        });
        counted.await.ok().map(|bytes| bytes.div_ceil(1 << 20))
    }

    /// By Docker id, of the containers that run; the others have none.
    async fn stats(
        &self,
        task: &Task,
        containers: &[ContainerStatus],
    ) -> Result<Map<String, Value>, Answer> {
        let looks = self.look(task, containers).await;
        // Nobody has looked before: a look without another one says nothing about the CPU.
        let looks = if looks.iter().any(|(_, _, before)| before.is_none()) {
            tokio::time::sleep(FIRST_STATS).await;
            self.look(task, containers).await
        } else {
            looks
        };
        let limit = u64::from(task.memory_mib) << 20;
        let mut all: Map<String, Value> = containers
            .iter()
            .map(|container| (container.runtime_id.clone(), Value::Null))
            .collect();
        for (container, sample, before) in looks {
            let document = stats::document(
                &container.runtime_id,
                &container.name,
                &sample,
                before.as_ref(),
                limit,
            );
            all.insert(container.runtime_id, document);
        }
        Ok(all)
    }

    async fn look(
        &self,
        task: &Task,
        containers: &[ContainerStatus],
    ) -> Vec<(ContainerStatus, Sample, Option<Sample>)> {
        let group = format!("{}/{}", crate::task::instance_cgroup(&self.config), task.id);
        let group = self.hierarchies.group(&group);
        let running: Vec<ContainerStatus> = containers
            .iter()
            .filter(|container| container.phase != TaskPhase::Stopped && container.pid.is_some())
            .cloned()
            .collect();
        let taken = tokio::task::spawn_blocking(move || {
            let take = |container: ContainerStatus| {
                let group = group.child(crate::shim::group_name(&container.name));
                let sample = Sample::take(&group, container.pid);
                (container, sample)
            };
            running.into_iter().map(take).collect::<Vec<_>>()
        });
        let taken = taken.await.unwrap_or_default();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let with_before = |(container, sample): (ContainerStatus, Sample)| {
            let before = samples.keep(&container.runtime_id, &sample);
            (container, sample, before)
        };
        taken.into_iter().map(with_before).collect()
    }
}

/// The task at that address of the VPC.
fn asker(snapshot: &Snapshot, vpc: &VpcId, client: IpAddr) -> Option<Arc<Task>> {
    let IpAddr::V4(address) = client else {
        return None;
    };
    let eni = snapshot
        .enis
        .all()
        .find(|eni| eni.vpc_id == *vpc && eni.private_ip == address)?;
    let mut tasks = snapshot.tasks.in_scope(&eni.scope);
    let task = tasks.find(|task| task.eni_id == eni.eni_id && task.stopped_at.is_none())?;
    Some(Arc::clone(task))
}

/// The task's container of that id.
fn named<'a>(snapshot: &'a Snapshot, task: &Task, id: &str) -> Option<&'a ContainerStatus> {
    let status = snapshot.task_statuses.get(&task.scope, &task.id)?;
    status.containers.iter().find(|c| c.runtime_id == id)
}

fn unknown(id: &str) -> Value {
    format!(
        "V4 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {id}"
    )
    .into()
}

async fn read<B>(body: B) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    let read = tokio::time::timeout(BODY_TIMEOUT, read).await.ok()?.ok()?;
    Some(read.to_bytes().to_vec())
}

fn response((status, document): Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
