//! Reachability Analyzer: questions about paths, and the runs that answer them.
//! <https://docs.aws.amazon.com/vpc/latest/reachability/how-reachability-analyzer-works.html>
//!
//! Called by `api/ec2/network_insights`. The answer is `NetworkInsightsFinding`, which the host writes for each analysis;
//! nothing here knows how packets go.

use super::ids::ResourceId;
use super::{Refusal, ResourceKind, ids};
use crate::model::Tx;
use fogbank_types::diagnosis::{
    NetworkInsightsAnalysis, NetworkInsightsFinding, NetworkInsightsPath,
};
use fogbank_types::*;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewPath {
    pub source: String,
    pub destination: Option<String>,
    pub source_ip: Option<IpAddr>,
    pub destination_ip: Option<IpAddr>,
    pub protocol: String,
    pub destination_port: Option<i32>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

pub fn path<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &NetworkInsightsPathId,
) -> Result<&'a Arc<NetworkInsightsPath>, Refusal> {
    snapshot
        .insights_paths
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::NetworkInsightsPath, id))
}

/// What the host found, if it is done.
pub fn finding<'a>(
    snapshot: &'a Snapshot,
    analysis: &NetworkInsightsAnalysis,
) -> Option<&'a Arc<NetworkInsightsFinding>> {
    snapshot
        .insights_findings
        .get(&analysis.scope, &analysis.analysis_id)
}

/// Ends must exist; what may be one: interfaces, internet gateways, VPC endpoints, peering connections, and as the
/// destination an address too.
pub fn create_path(
    tx: &mut Tx,
    scope: &Scope,
    new: NewPath,
) -> Result<NetworkInsightsPath, Refusal> {
    if let Some(earlier) = same_token(tx.snapshot(), scope, &new)? {
        return Ok(earlier);
    }
    if !matches!(new.protocol.as_str(), "tcp" | "udp") {
        return Err(Refusal::parameter(
            "Protocol",
            &new.protocol,
            "Valid values are tcp and udp.",
        ));
    }
    let destination_port = match new.destination_port {
        None => None,
        Some(port) => match u16::try_from(port) {
            Ok(port) => Some(port),
            Err(_) => {
                return Err(Refusal::parameter(
                    "DestinationPort",
                    port,
                    "It must be from 0 to 65535.",
                ));
            }
        },
    };
    check_end(tx.snapshot(), scope, &new.source)?;
    match (&new.destination, new.destination_ip) {
        (Some(end), _) => check_end(tx.snapshot(), scope, end)?,
        (None, Some(_)) => {}
        (None, None) => {
            let text = "Either Destination or DestinationIp must be given.".to_owned();
            return Err(Refusal::Missing { text });
        }
    }
    let row = NetworkInsightsPath {
        scope: scope.clone(),
        path_id: NetworkInsightsPathId::from_bits(tx.random()),
        source: new.source,
        destination: new.destination,
        source_ip: new.source_ip,
        destination_ip: new.destination_ip,
        protocol: new.protocol,
        destination_port,
        client_token: new.client_token,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

fn same_token(
    snapshot: &Snapshot,
    scope: &Scope,
    new: &NewPath,
) -> Result<Option<NetworkInsightsPath>, Refusal> {
    let Some(token) = &new.client_token else {
        return Ok(None);
    };
    let earlier = snapshot
        .insights_paths
        .in_scope(scope)
        .find(|row| row.client_token.as_ref() == Some(token));
    match earlier {
        None => Ok(None),
        Some(row)
            if row.source == new.source
                && row.destination == new.destination
                && row.destination_ip == new.destination_ip
                && row.protocol == new.protocol
                && row.destination_port.map(i32::from) == new.destination_port =>
        {
            Ok(Some(NetworkInsightsPath::clone(row)))
        }
        Some(_) => Err(Refusal::TokenReused),
    }
}

/// The id in an id or an ARN of EC2.
pub fn end_id(text: &str) -> &str {
    match text.strip_prefix("arn:") {
        Some(_) => text.rsplit('/').next().unwrap_or(text),
        None => text,
    }
}

fn check_end(snapshot: &Snapshot, scope: &Scope, text: &str) -> Result<(), Refusal> {
    let id = end_id(text);
    let foreign = text.starts_with("arn:") && !text.starts_with(&scope.arn("ec2", ""));
    if foreign {
        return Err(Refusal::NotOffered {
            what: "A path to or from another account or region",
        });
    }
    match id.split_once('-').map(|(prefix, _)| prefix) {
        Some("eni") => known::<EniId>(id, |id| snapshot.enis.contains(scope, id)),
        Some("igw") => {
            known::<InternetGatewayId>(id, |id| snapshot.internet_gateways.contains(scope, id))
        }
        Some("vpce") => known::<VpcEndpointId>(id, |id| snapshot.vpc_endpoints.contains(scope, id)),
        Some("pcx") => {
            let there = VpcPeeringConnectionId::parse(id).is_ok_and(|id| {
                snapshot.peering(&id).is_some_and(|(row, _, _)| {
                    [&row.requester, &row.accepter]
                        .iter()
                        .any(|side| side.scope == *scope)
                })
            });
            if there { Ok(()) } else { Err(unknown(text)) }
        }
        Some("i" | "tgw" | "vgw" | "vpce-svc" | "tgw-attach") => Err(Refusal::NotOffered {
            what: "A path to or from that kind of resource",
        }),
        _ => Err(unknown(text)),
    }
}

fn unknown(text: &str) -> Refusal {
    Refusal::value(format!(
        "The path resource '{text}' does not exist or cannot be an end of a path."
    ))
}

fn known<I: ResourceId>(text: &str, there: impl Fn(&I) -> bool) -> Result<(), Refusal> {
    let id: I = ids::parse(text)?;
    if there(&id) {
        Ok(())
    } else {
        Err(Refusal::not_found(I::KIND, &id))
    }
}

/// Not while analyses of it are there.
pub fn delete_path(tx: &mut Tx, scope: &Scope, id: &NetworkInsightsPathId) -> Result<(), Refusal> {
    path(tx.snapshot(), scope, id)?;
    if tx
        .snapshot()
        .insights_analyses
        .in_scope(scope)
        .any(|row| row.path_id == *id)
    {
        return Err(Refusal::AnalysisExists {
            path_id: id.to_string(),
        });
    }
    tx.delete::<NetworkInsightsPath>(scope, id);
    Ok(())
}

/// Asks the path's question as it stands; the same token again gives the same analysis.
pub fn start(
    tx: &mut Tx,
    scope: &Scope,
    path_id: &NetworkInsightsPathId,
    client_token: Option<&str>,
    tags: Tags,
) -> Result<NetworkInsightsAnalysis, Refusal> {
    let path = path(tx.snapshot(), scope, path_id)?.clone();
    let analysis_id = match client_token {
        Some(token) => ids::derived(scope, &["network-insights-analysis", token]),
        None => NetworkInsightsAnalysisId::from_bits(tx.random()),
    };
    if let Some(earlier) = tx.snapshot().insights_analyses.get(scope, &analysis_id) {
        return match earlier.path_id == *path_id {
            true => Ok(NetworkInsightsAnalysis::clone(earlier)),
            false => Err(Refusal::TokenReused),
        };
    }
    let row = NetworkInsightsAnalysis {
        scope: scope.clone(),
        analysis_id,
        path_id: path_id.clone(),
        source: path.source.clone(),
        destination: path.destination.clone(),
        source_ip: path.source_ip,
        destination_ip: path.destination_ip,
        protocol: path.protocol.clone(),
        destination_port: path.destination_port,
        started_at: tx.now(),
        tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Its finding goes with it.
pub fn delete_analysis(
    tx: &mut Tx,
    scope: &Scope,
    id: &NetworkInsightsAnalysisId,
) -> Result<(), Refusal> {
    if !tx.delete::<NetworkInsightsAnalysis>(scope, id) {
        return Err(Refusal::not_found(
            ResourceKind::NetworkInsightsAnalysis,
            id,
        ));
    }
    tx.delete::<NetworkInsightsFinding>(scope, id);
    Ok(())
}

/// Findings whose analysis is gone, which a host wrote before it had seen that.
pub fn forget_orphans(tx: &mut Tx) {
    let orphans: Vec<_> = tx
        .snapshot()
        .insights_findings
        .all()
        .filter(|row| {
            !tx.snapshot()
                .insights_analyses
                .contains(&row.scope, &row.analysis_id)
        })
        .map(|row| (row.scope.clone(), row.analysis_id.clone()))
        .collect();
    for (scope, id) in orphans {
        tx.delete::<NetworkInsightsFinding>(&scope, &id);
    }
}

/// The ARN of an end of a path, of EC2's resources.
pub fn end_arn(scope: &Scope, text: &str) -> Option<String> {
    if text.starts_with("arn:") {
        return Some(text.to_owned());
    }
    let (prefix, _) = text.rsplit_once('-')?;
    let kind = match prefix {
        EniId::PREFIX => "network-interface",
        InternetGatewayId::PREFIX => "internet-gateway",
        EgressOnlyInternetGatewayId::PREFIX => "egress-only-internet-gateway",
        NatGatewayId::PREFIX => "natgateway",
        VpcEndpointId::PREFIX => "vpc-endpoint",
        VpcPeeringConnectionId::PREFIX => "vpc-peering-connection",
        SecurityGroupId::PREFIX => "security-group",
        NetworkAclId::PREFIX => "network-acl",
        RouteTableId::PREFIX => "route-table",
        SubnetId::PREFIX => "subnet",
        VpcId::PREFIX => "vpc",
        PrefixListId::PREFIX => "prefix-list",
        NetworkInsightsPathId::PREFIX => "network-insights-path",
        NetworkInsightsAnalysisId::PREFIX => "network-insights-analysis",
        _ => return None,
    };
    Some(scope.arn("ec2", &format!("{kind}/{text}")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;
    use fogbank_types::ec2::Eni;

    fn new(source: impl ToString, destination: impl ToString) -> NewPath {
        NewPath {
            source: source.to_string(),
            destination: Some(destination.to_string()),
            source_ip: None,
            destination_ip: None,
            protocol: "tcp".to_owned(),
            destination_port: Some(80),
            client_token: None,
            tags: Tags::new(),
        }
    }

    fn stage() -> (Tx, Eni, Eni) {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let (one, other) = (interface(&mut tx, &subnet), interface(&mut tx, &subnet));
        (tx, one, other)
    }

    #[test]
    fn ends_exist_and_may_be_arns() {
        let (mut tx, one, other) = stage();
        let mut create =
            |new| create_path(&mut tx, &scope(), new).map_err(|refusal| refusal.code());
        assert!(create(new(&one.eni_id, &other.eni_id)).is_ok());
        let arn = end_arn(&scope(), other.eni_id.as_str()).unwrap();
        assert_eq!(
            arn,
            format!(
                "arn:aws:ec2:us-east-1:000000000000:network-interface/{}",
                other.eni_id
            )
        );
        assert!(create(new(&one.eni_id, arn)).is_ok());
        for (end, code) in [
            ("eni-12345678", "InvalidNetworkInterfaceID.NotFound"),
            ("igw-12345678", "InvalidInternetGatewayID.NotFound"),
            ("vpce-12345678", "InvalidVpcEndpointId.NotFound"),
            ("pcx-12345678", "InvalidParameterValue"),
            ("i-12345678", "InvalidParameterValue"),
            ("nonsense", "InvalidParameterValue"),
            (
                "arn:aws:ec2:eu-west-1:000000000000:network-interface/eni-1",
                "InvalidParameterValue",
            ),
        ] {
            assert_eq!(create(new(&one.eni_id, end)).unwrap_err(), code, "{end}");
            assert_eq!(create(new(end, &one.eni_id)).unwrap_err(), code, "{end}");
        }
    }

    #[test]
    fn protocol_port_and_destination_are_checked() {
        let (mut tx, one, other) = stage();
        let good = new(&one.eni_id, &other.eni_id);
        let mut code = |new| create_path(&mut tx, &scope(), new).unwrap_err().code();
        assert_eq!(
            code(NewPath {
                protocol: "icmp".to_owned(),
                ..good.clone()
            }),
            "InvalidParameterValue"
        );
        assert_eq!(
            code(NewPath {
                destination_port: Some(65536),
                ..good.clone()
            }),
            "InvalidParameterValue"
        );
        assert_eq!(
            code(NewPath {
                destination: None,
                ..good.clone()
            }),
            "MissingParameter"
        );
        let address = NewPath {
            destination: None,
            destination_ip: Some([198, 51, 100, 7].into()),
            ..good
        };
        assert!(create_path(&mut tx, &scope(), address).is_ok());
    }

    #[test]
    fn a_path_outlives_its_analyses_and_they_take_their_findings_along() {
        let (mut tx, one, other) = stage();
        let path = create_path(&mut tx, &scope(), new(&one.eni_id, &other.eni_id)).unwrap();
        let analysis = start(&mut tx, &scope(), &path.path_id, Some("t"), Tags::new()).unwrap();
        let again = start(&mut tx, &scope(), &path.path_id, Some("t"), Tags::new()).unwrap();
        assert_eq!(again, analysis);
        assert_eq!(
            delete_path(&mut tx, &scope(), &path.path_id)
                .unwrap_err()
                .code(),
            "AnalysisExistsForNetworkInsightsPath"
        );
        let found = |id: &NetworkInsightsAnalysisId| NetworkInsightsFinding {
            scope: scope(),
            analysis_id: id.clone(),
            path_found: Some(true),
            message: None,
            forward: Vec::new(),
            back: Vec::new(),
            explanations: Vec::new(),
        };
        tx.put(found(&analysis.analysis_id));
        tx.put(found(&NetworkInsightsAnalysisId::from_bits(9)));
        forget_orphans(&mut tx);
        assert_eq!(tx.snapshot().insights_findings.len(), 1);
        delete_analysis(&mut tx, &scope(), &analysis.analysis_id).unwrap();
        assert!(tx.snapshot().insights_findings.is_empty());
        delete_path(&mut tx, &scope(), &path.path_id).unwrap();
        let refusal = delete_path(&mut tx, &scope(), &path.path_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidNetworkInsightsPathId.NotFound");
    }
}
