//! The text of a flow log record: AWS's fields, in the order that the flow log asks for.
//!
//! Pure. <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>. What must stay true: a record has as
//! many words as the format has fields; what does not apply or is unknown is `-`.

use std::fmt::Write;
use std::net::IpAddr;

use fogbank_types::ec2::Eni;

/// What a flow is told apart by, beside its interface.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    pub egress: bool,
    pub rejected: bool,
    /// At the interface: its own end is always one of its own addresses.
    pub source: IpAddr,
    pub destination: IpAddr,
    /// In the packet.
    pub packet_source: IpAddr,
    pub packet_destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
    /// AWS's number of the way out; of egress only.
    pub path: Option<u8>,
}

/// What came together of a flow.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    pub packets: u64,
    pub bytes: u64,
    /// FIN 1, SYN 2, RST 4, and 18 of an answered SYN.
    pub tcp_flags: u8,
    pub start_s: i64,
    pub end_s: i64,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.tcp_flags |= other.tcp_flags;
        self.start_s = self.start_s.min(other.start_s);
        self.end_s = self.end_s.max(other.end_s);
    }
}

/// What a record says.
#[derive(Copy, Clone, Debug)]
pub enum Body<'a> {
    Flow(&'a Flow, &'a Sums),
    NoData { start_s: i64, end_s: i64 },
    SkipData { start_s: i64, end_s: i64 },
}

/// The task behind an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFacts {
    pub cluster_arn: String,
    pub cluster_name: String,
    pub task_arn: String,
    pub task_id: String,
    pub definition_arn: String,
    pub service_name: Option<String>,
    pub containers: Vec<String>,
}

/// What a record says of its interface, whatever the flow.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub eni: &'a Eni,
    pub zone_id: &'a str,
    pub task: Option<TaskFacts>,
}

/// Names AWS's services by their addresses.
pub trait Services {
    /// AWS's code of the service, `S3`.
    fn service(&self, address: IpAddr) -> Option<&'static str>;
}

macro_rules! fields {
    ($($field:ident = $name:literal, $version:literal;)*) => {
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        enum Field { $($field,)* Unknown }

        impl Field {
            fn parse(name: &str) -> Self {
                match name { $($name => Self::$field,)* _ => Self::Unknown }
            }

            /// The version of the records that brought it.
            fn version(self) -> u8 {
                match self { $(Self::$field => $version,)* Self::Unknown => 2 }
            }
        }
    };
}

fields! {
    Version = "version", 2;
    AccountId = "account-id", 2;
    InterfaceId = "interface-id", 2;
    Source = "srcaddr", 2;
    Destination = "dstaddr", 2;
    SourcePort = "srcport", 2;
    DestinationPort = "dstport", 2;
    Protocol = "protocol", 2;
    Packets = "packets", 2;
    Bytes = "bytes", 2;
    Start = "start", 2;
    End = "end", 2;
    Action = "action", 2;
    LogStatus = "log-status", 2;
    VpcId = "vpc-id", 3;
    SubnetId = "subnet-id", 3;
    InstanceId = "instance-id", 3;
    TcpFlags = "tcp-flags", 3;
    Type = "type", 3;
    PacketSource = "pkt-srcaddr", 3;
    PacketDestination = "pkt-dstaddr", 3;
    Region = "region", 4;
    ZoneId = "az-id", 4;
    SublocationType = "sublocation-type", 4;
    SublocationId = "sublocation-id", 4;
    PacketSourceService = "pkt-src-aws-service", 5;
    PacketDestinationService = "pkt-dst-aws-service", 5;
    FlowDirection = "flow-direction", 5;
    TrafficPath = "traffic-path", 5;
    EcsClusterArn = "ecs-cluster-arn", 7;
    EcsClusterName = "ecs-cluster-name", 7;
    EcsContainerInstanceArn = "ecs-container-instance-arn", 7;
    EcsContainerInstanceId = "ecs-container-instance-id", 7;
    EcsContainerId = "ecs-container-id", 7;
    EcsSecondContainerId = "ecs-second-container-id", 7;
    EcsServiceName = "ecs-service-name", 7;
    EcsTaskDefinitionArn = "ecs-task-definition-arn", 7;
    EcsTaskArn = "ecs-task-arn", 7;
    EcsTaskId = "ecs-task-id", 7;
    RejectReason = "reject-reason", 8;
    ResourceId = "resource-id", 9;
    EncryptionStatus = "encryption-status", 10;
}

/// A flow log's fields, read once.
#[derive(Clone, Debug)]
pub struct Format {
    fields: Vec<Field>,
    /// The highest version of the fields.
    version: u8,
}

impl Format {
    pub fn of(names: &[String]) -> Self {
        let fields: Vec<Field> = names.iter().map(|name| Field::parse(name)).collect();
        let version = fields
            .iter()
            .map(|field| field.version())
            .max()
            .unwrap_or(2);
        Self { fields, version }
    }

    /// Whether records name the task.
    pub fn wants_task(&self) -> bool {
        self.fields.iter().any(|field| field.version() == 7)
    }

    pub fn line(&self, facts: &Facts<'_>, services: &impl Services, body: Body<'_>) -> String {
        let mut line = String::with_capacity(16 * self.fields.len());
        for field in &self.fields {
            if !line.is_empty() {
                line.push(' ');
            }
            let before = line.len();
            self.write_field(&mut line, *field, facts, services, body);
            if line.len() == before {
                line.push('-');
            }
        }
        line
    }

    /// Writes nothing if the field does not apply.
    fn write_field(
        &self,
        line: &mut String,
        field: Field,
        facts: &Facts<'_>,
        services: &impl Services,
        body: Body<'_>,
    ) {
        let eni = facts.eni;
        // Writing to a string cannot fail.
        let _ = match field {
            Field::Version => write!(line, "{}", self.version),
            Field::AccountId => write!(line, "{}", eni.scope.account),
            Field::InterfaceId => write!(line, "{}", eni.eni_id),
            Field::VpcId => write!(line, "{}", eni.vpc_id),
            Field::SubnetId => write!(line, "{}", eni.subnet_id),
            Field::Region => write!(line, "{}", eni.scope.region),
            Field::ZoneId => write!(line, "{}", facts.zone_id),
            Field::LogStatus => write!(
                line,
                "{}",
                match body {
                    Body::Flow(..) => "OK",
                    Body::NoData { .. } => "NODATA",
                    Body::SkipData { .. } => "SKIPDATA",
                }
            ),
            Field::Start | Field::End => {
                let (start_s, end_s) = match body {
                    Body::Flow(_, sums) => (sums.start_s, sums.end_s),
                    Body::NoData { start_s, end_s } | Body::SkipData { start_s, end_s } => {
                        (start_s, end_s)
                    }
                };
                let time_s = if field == Field::Start {
                    start_s
                } else {
                    end_s
                };
                write!(line, "{time_s}")
            }
            _ => {
                if let Body::Flow(flow, sums) = body {
                    write_flow_field(line, field, flow, sums, services);
                }
                if let Some(task) = &facts.task {
                    write_task_field(line, field, task);
                }
                Ok(())
            }
        };
    }
}

fn write_flow_field(
    line: &mut String,
    field: Field,
    flow: &Flow,
    sums: &Sums,
    services: &impl Services,
) {
    let service = |address| services.service(address).unwrap_or_default();
    let _ = match field {
        Field::Source => write!(line, "{}", flow.source),
        Field::Destination => write!(line, "{}", flow.destination),
        Field::SourcePort => write!(line, "{}", flow.source_port),
        Field::DestinationPort => write!(line, "{}", flow.destination_port),
        Field::Protocol => write!(line, "{}", flow.protocol),
        Field::Packets => write!(line, "{}", sums.packets),
        Field::Bytes => write!(line, "{}", sums.bytes),
        Field::Action if flow.rejected => write!(line, "REJECT"),
        Field::Action => write!(line, "ACCEPT"),
        Field::TcpFlags => write!(line, "{}", sums.tcp_flags),
        Field::Type if flow.packet_source.is_ipv4() => write!(line, "IPv4"),
        Field::Type => write!(line, "IPv6"),
        Field::PacketSource => write!(line, "{}", flow.packet_source),
        Field::PacketDestination => write!(line, "{}", flow.packet_destination),
        Field::PacketSourceService => write!(line, "{}", service(flow.packet_source)),
        Field::PacketDestinationService => write!(line, "{}", service(flow.packet_destination)),
        Field::FlowDirection if flow.egress => write!(line, "egress"),
        Field::FlowDirection => write!(line, "ingress"),
        Field::TrafficPath => match flow.path {
            Some(path) => write!(line, "{path}"),
            None => Ok(()),
        },
        _ => Ok(()),
    };
}

fn write_task_field(line: &mut String, field: Field, task: &TaskFacts) {
    let container = |index: usize| task.containers.get(index).map_or("", String::as_str);
    line.push_str(match field {
        Field::EcsClusterArn => &task.cluster_arn,
        Field::EcsClusterName => &task.cluster_name,
        Field::EcsContainerId => container(0),
        Field::EcsSecondContainerId => container(1),
        Field::EcsServiceName => task.service_name.as_deref().unwrap_or_default(),
        Field::EcsTaskDefinitionArn => &task.definition_arn,
        Field::EcsTaskArn => &task.task_arn,
        Field::EcsTaskId => &task.task_id,
        _ => "",
    });
}
