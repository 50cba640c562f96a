//! Questions to the network: may a task reach its registry, and what the Reachability Analyzer asks.
//!
//! The agent owns the compiled program and answers; tasks ask through a channel and wait. What must
//! stay true: the answer is that of the program that filters this host's packets.

use fogbank_net::Program;
use fogbank_net::explain::{Answer, Party, Question, Unclear, explain};
use fogbank_types::aws_service::{AWS_SERVICES, AwsService};
use fogbank_types::diagnosis::{Explanation, NetworkInsightsAnalysis, NetworkInsightsFinding};
use fogbank_types::ecs::Task;
use fogbank_types::{RegionConfig, Snapshot};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a task needs over its own interface before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A private repository: its API, its registry, and S3 for the layers (fact PEER-2).
    Repository,
    /// A registry on the internet.
    PublicRegistry,
    /// CloudWatch Logs.
    Logs,
    /// Systems Manager's Parameter Store.
    Parameters,
    /// Secrets Manager.
    Secrets,
}

/// A task's question; `None` is the answer that it gets through.
pub struct Ask {
    task: Arc<Task>,
    need: Need,
    answer: oneshot::Sender<Option<Blocked>>,
}

/// What is not reached and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Host name as the client would ask for it.
    pub host: String,
    pub address: String,
    /// For the operator: code and sentence.
    pub reason: String,
}

/// The tasks' end of the channel.
#[derive(Clone)]
pub struct Asker {
    asks: mpsc::Sender<Ask>,
}

/// Both ends.
pub fn channel() -> (Asker, mpsc::Receiver<Ask>) {
    let (asks, questions) = mpsc::channel(64);
    (Asker { asks }, questions)
}

impl Asker {
    /// What stops the task from what it needs; nothing if the agent is going down.
    pub async fn blocked(&self, task: &Arc<Task>, need: Need) -> Option<Blocked> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            task: Arc::clone(task),
            need,
            answer,
        };
        self.asks.send(ask).await.ok()?;
        answered.await.ok().flatten()
    }
}

/// Answers one question.
pub fn answer(snapshot: &Snapshot, config: &RegionConfig, program: &Program, ask: Ask) {
    let found = blocked(snapshot, config, program, &ask.task, ask.need);
    // A task that ended meanwhile does not want the answer.
    let _ = ask.answer.send(found);
}

fn service(endpoint: &str) -> &'static AwsService {
    let mut all = AWS_SERVICES.iter();
    all.find(|service| service.endpoint == endpoint)
        .expect("a service of the list")
}

fn blocked(
    snapshot: &Snapshot,
    config: &RegionConfig,
    program: &Program,
    task: &Task,
    need: Need,
) -> Option<Blocked> {
    let eni = snapshot.enis.get(&task.scope, &task.eni_id)?;
    let from = Party::Eni(Arc::clone(eni));
    let region = &task.scope.region;
    // Any address beyond the internet gateway stands for what has no endpoint in VPCs: AWS's own front is one.
    let beyond = || Party::Address(config.service_address(service("ecr.api")).into());
    let one = |name: &str| match AWS_SERVICES.iter().find(|s| s.endpoint == name) {
        Some(service) => vec![(service.dns_name(region), Party::Service(service))],
        None => vec![(format!("{name}.{region}.amazonaws.com"), beyond())],
    };
    let ends: Vec<(String, Party)> = match need {
        Need::Repository => ["ecr.api", "ecr.dkr", "s3"]
            .map(|name| {
                (
                    host_name(service(name), task),
                    Party::Service(service(name)),
                )
            })
            .into(),
        Need::Logs => one("logs"),
        Need::Parameters => one("ssm"),
        Need::Secrets => one("secretsmanager"),
        Need::PublicRegistry => vec![("registry-1.docker.io".to_owned(), beyond())],
    };
    ends.into_iter().find_map(|(host, to)| {
        let question = match Question::new(snapshot, config, &from, &to, 6, 443) {
            Ok(question) => question,
            Err(unclear) => {
                return Some(Blocked {
                    host,
                    address: String::new(),
                    reason: unclear.to_string(),
                });
            }
        };
        let answer = explain(snapshot, config, program, &question);
        (!answer.reachable).then(|| Blocked {
            host,
            address: answer.packet.destination.to_string(),
            reason: sentence(&answer),
        })
    })
}

fn host_name(service: &AwsService, task: &Task) -> String {
    service
        .dns_name(&task.scope.region)
        .replace('*', &task.scope.account)
}

fn sentence(answer: &Answer) -> String {
    match answer.explanations.first() {
        Some(explanation) => format!("{}: {}", explanation.code, explanation.text),
        None => "no path".to_owned(),
    }
}

/// The answer to an analysis that has none yet.
pub fn finding(
    snapshot: &Snapshot,
    config: &RegionConfig,
    program: &Program,
    analysis: &NetworkInsightsAnalysis,
) -> NetworkInsightsFinding {
    let mut finding = NetworkInsightsFinding {
        scope: analysis.scope.clone(),
        analysis_id: analysis.analysis_id.clone(),
        path_found: None,
        message: None,
        forward: Vec::new(),
        back: Vec::new(),
        explanations: Vec::new(),
    };
    match question(snapshot, config, analysis) {
        Ok(question) => {
            let answer = explain(snapshot, config, program, &question);
            finding.path_found = Some(answer.reachable);
            finding.forward = answer.forward;
            finding.back = answer.back;
            finding.explanations = answer.explanations;
        }
        // A question all the same: nothing passes where nothing is attached.
        Err(unclear @ Unclear::NotHere(_)) => {
            finding.path_found = Some(false);
            finding.explanations.push(Explanation {
                code: "BAD_STATE_ATTACHMENT".to_owned(),
                text: unclear.to_string(),
                remedy: None,
                component: None,
                rule_owner: None,
                egress: None,
                decided_by: None,
                packet: None,
            });
        }
        Err(unclear) => finding.message = Some(unclear.to_string()),
    }
    finding
}

fn question(
    snapshot: &Snapshot,
    config: &RegionConfig,
    analysis: &NetworkInsightsAnalysis,
) -> Result<Question, Unclear> {
    let from = Party::find(snapshot, &analysis.source)?;
    let to = match (&analysis.destination, analysis.destination_ip) {
        (Some(destination), _) => Party::find(snapshot, destination)?,
        (None, Some(address)) => Party::Address(address),
        (None, None) => Party::Internet,
    };
    let protocol = if analysis.protocol == "udp" { 17 } else { 6 };
    // Without a port any will do: the first that people would try.
    let port = analysis.destination_port.unwrap_or(443);
    let mut question = Question::new(snapshot, config, &from, &to, protocol, port)?;
    if let Some(source) = analysis.source_ip {
        question.packet.source = source;
    }
    if let Some(destination) = analysis.destination_ip {
        question.packet.destination = destination;
    }
    Ok(question)
}
