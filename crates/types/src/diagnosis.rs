//! Rows for those who ask why: flow logs and the Reachability Analyzer.

use crate::*;
use serde::{Deserialize, Serialize};

/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowLog {
    pub scope: Scope,
    pub flow_log_id: FlowLogId,
    pub resource: FlowLogResource,
    pub traffic: FlowLogTraffic,
    /// Name of the log group in CloudWatch Logs, which is the only destination.
    pub log_group: String,
    pub deliver_role_arn: Option<String>,
    /// Field names in their order; the default format if the caller gave none.
    pub fields: Vec<String>,
    /// As the caller wrote it: `${version} ${account-id}...`.
    pub log_format: String,
    /// 60 or 600.
    pub max_aggregation_interval_s: u32,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowLogResource {
    Vpc(VpcId),
    Subnet(SubnetId),
    NetworkInterface(EniId),
}

impl FlowLogResource {
    pub fn id(&self) -> &str {
        match self {
            Self::Vpc(id) => id.as_str(),
            Self::Subnet(id) => id.as_str(),
            Self::NetworkInterface(id) => id.as_str(),
        }
    }

    /// Whether it covers that interface.
    pub fn covers(&self, eni: &ec2::Eni) -> bool {
        match self {
            Self::Vpc(id) => eni.vpc_id == *id,
            Self::Subnet(id) => eni.subnet_id == *id,
            Self::NetworkInterface(id) => eni.eni_id == *id,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FlowLogTraffic {
    Accept,
    Reject,
    All,
}

/// A question to the Reachability Analyzer.
/// <https://docs.aws.amazon.com/vpc/latest/reachability/how-reachability-analyzer-works.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInsightsPath {
    pub scope: Scope,
    pub path_id: NetworkInsightsPathId,
    /// Id or ARN of an interface, internet gateway, VPC endpoint, peering connection...
    pub source: String,
    pub destination: Option<String>,
    pub source_ip: Option<std::net::IpAddr>,
    pub destination_ip: Option<std::net::IpAddr>,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub destination_port: Option<u16>,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// One run of it. The control plane writes it; the answer is a row of its own, which the host writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInsightsAnalysis {
    pub scope: Scope,
    pub analysis_id: NetworkInsightsAnalysisId,
    pub path_id: NetworkInsightsPathId,
    /// The path's question at the start.
    pub source: String,
    pub destination: Option<String>,
    pub source_ip: Option<std::net::IpAddr>,
    pub destination_ip: Option<std::net::IpAddr>,
    pub protocol: String,
    pub destination_port: Option<u16>,
    pub started_at: Timestamp,
    pub tags: Tags,
}

/// What the host found out for an analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInsightsFinding {
    pub scope: Scope,
    pub analysis_id: NetworkInsightsAnalysisId,
    /// `None`: the question could not be analysed; then `message` says why.
    pub path_found: Option<bool>,
    pub message: Option<String>,
    pub forward: Vec<PathHop>,
    pub back: Vec<PathHop>,
    pub explanations: Vec<Explanation>,
}

/// A component that the packet passes, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathHop {
    pub component: PathComponent,
    /// As it leaves the component.
    pub packet: PathPacket,
    /// The rule, entry or route that let it on, if the component has such.
    pub decided_by: Option<Decision>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathComponent {
    /// Resource id: `eni-..`, `sg-..`, `acl-..`, `rtb-..`, `igw-..`, `nat-..`, `pcx-..`, `vpce-..`;
    /// `internet` for the world outside.
    pub id: String,
    pub vpc_id: Option<VpcId>,
    pub subnet_id: Option<SubnetId>,
}

#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPacket {
    pub source: std::net::IpAddr,
    pub destination: std::net::IpAddr,
    pub protocol: u8,
    /// Destination port, or ICMP type * 256 + code.
    pub detail: u16,
}

/// What decided at a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    GroupRule {
        group_id: SecurityGroupId,
        rule_id: SecurityGroupRuleId,
        egress: bool,
    },
    /// 32767 is the last one, which denies all.
    AclEntry {
        network_acl_id: NetworkAclId,
        number: u16,
        egress: bool,
        allow: bool,
    },
    Route {
        route_table_id: RouteTableId,
        destination: String,
        /// `local`, or the target's id.
        target: String,
    },
    /// A reply to a connection that the forward path opened.
    Established,
}

/// Why a packet does not get through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// AWS's code: `ENI_SG_RULES_MISMATCH`, `SUBNET_ACL_RESTRICTION`, `NO_ROUTE_TO_DESTINATION`...
    /// <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>
    pub code: String,
    /// One sentence for a person.
    pub text: String,
    /// The call that would open it, as a command line of the AWS CLI; none if no single call would.
    pub remedy: Option<String>,
    /// The component that stops it.
    pub component: Option<PathComponent>,
    /// The resource that its rule names, if any: the group of a mismatch, the ACL, the route table.
    pub rule_owner: Option<String>,
    pub egress: Option<bool>,
    pub decided_by: Option<Decision>,
    pub packet: Option<PathPacket>,
}
