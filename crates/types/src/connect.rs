//! What Service Connect made of a deployment: names, the addresses that stand for them, and who answers.
//!
//! Control writes it into the deployment's row; nodes make hosts files and the tables of proxies from it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>

use crate::Snapshot;
use crate::ecs::Task;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The first 16 bits of the addresses that stand for names. Nobody has them: the kernel turns what is sent there to the
/// task's proxy, as on AWS.
pub const NETWORK: [u8; 2] = [127, 255];
/// Where the proxy listens for that, on 127.0.0.1: above the ports that programs get for connections of their own.
pub const EGRESS_PORT: u16 = 61_001;

/// What the tasks of a deployment know of their namespace: fixed when the deployment is made, so that its tasks are all
/// alike. Who stands behind the names is always the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    pub namespace_id: String,
    pub namespace_name: String,
    /// What its own tasks serve.
    pub served: Vec<Endpoint>,
    /// What its tasks can call, the own ones included.
    pub known: Vec<Endpoint>,
}

/// A name and a port that tasks of a namespace call, and the Cloud Map service whose instances answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub dns_name: String,
    pub port: u16,
    pub discovery_name: String,
    /// The Cloud Map service's id.
    pub discovery_id: String,
    /// Where the container listens.
    pub container_port: u16,
    /// Where the proxy of a serving task listens in its place.
    pub ingress_port: Option<u16>,
    pub protocol: Protocol,
    /// 0 is for ever.
    pub idle_timeout_seconds: u32,
    /// 0 is for ever; not of TCP.
    pub request_timeout_seconds: u32,
}

/// `appProtocol` of a port mapping.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// None was given.
    Tcp,
    Http,
    Http2,
    Grpc,
}

/// What the deployment of a task serves and knows; `None`: it has no Service Connect, or the deployment is history.
pub fn of_task<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a Connected> {
    let name = task.group.strip_prefix("service:")?;
    let id = format!("{}/{name}", task.cluster);
    let service = snapshot.services.get(&task.scope, id)?;
    let mut deployments = service.deployments.iter();
    let own = deployments.find(|deployment| task.started_by.as_ref() == Some(&deployment.id))?;
    own.connected.as_ref()
}

impl Connected {
    /// The address that stands for each name: 127.255.0.1 and so on, one a name, in the order of `known`.
    pub fn addresses(&self) -> Vec<(&str, Ipv4Addr)> {
        let mut names: Vec<&str> = Vec::new();
        for endpoint in &self.known {
            if !names.contains(&endpoint.dns_name.as_str()) {
                names.push(&endpoint.dns_name);
            }
        }
        let address = |number: u16| {
            let [third, fourth] = number.to_be_bytes();
            Ipv4Addr::new(NETWORK[0], NETWORK[1], third, fourth)
        };
        names.into_iter().zip((1..u16::MAX).map(address)).collect()
    }
}

impl Endpoint {
    /// Where proxies of other tasks find a task that serves it.
    pub fn target_port(&self) -> u16 {
        self.ingress_port.unwrap_or(self.container_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_address_whatever_its_ports() {
        let endpoint = |name: &str, port| Endpoint {
            dns_name: name.to_owned(),
            port,
            discovery_name: name.to_owned(),
            discovery_id: "srv-1".to_owned(),
            container_port: 8080,
            ingress_port: None,
            protocol: Protocol::Http,
            idle_timeout_seconds: 300,
            request_timeout_seconds: 15,
        };
        let connected = Connected {
            namespace_id: "ns-1".to_owned(),
            namespace_name: "shop".to_owned(),
            served: Vec::new(),
            known: vec![
                endpoint("orders", 80),
                endpoint("carts", 80),
                endpoint("orders", 81),
            ],
        };
        let expected = [
            ("orders", Ipv4Addr::new(127, 255, 0, 1)),
            ("carts", Ipv4Addr::new(127, 255, 0, 2)),
        ];
        assert_eq!(connected.addresses(), expected);
    }
}
