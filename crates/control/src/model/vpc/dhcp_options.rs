//! DHCP option sets: what a VPC tells its hosts. They are never changed, only replaced (fact VPC-14).
//! <https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html>
//!
//! The default set has no row: it follows from account and region. It gets one when the caller tags it.

use super::{Refusal, ResourceKind, ids, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::{DhcpOptions, Vpc};
use fogbank_types::*;
use std::collections::BTreeMap;

/// Option name and values, as the caller gives them.
pub type Configuration = (String, Vec<String>);

/// The id of the default set of an account in a region.
pub fn default_id(scope: &Scope) -> DhcpOptionsId {
    ids::derived(scope, &["dhcp-options", "default"])
}

/// The domain of private names (fact VPC-13).
pub fn internal_domain(region: &str) -> String {
    if region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{region}.compute.internal")
    }
}

fn default_set(scope: &Scope) -> DhcpOptions {
    DhcpOptions {
        scope: scope.clone(),
        dhcp_options_id: default_id(scope),
        options: BTreeMap::from([
            (
                "domain-name".to_owned(),
                vec![internal_domain(&scope.region)],
            ),
            (
                "domain-name-servers".to_owned(),
                vec!["AmazonProvidedDNS".to_owned()],
            ),
        ]),
        tags: Tags::new(),
    }
}

/// The set of that id, the default one included.
pub fn find(snapshot: &Snapshot, scope: &Scope, id: &str) -> Option<DhcpOptions> {
    let row = snapshot
        .dhcp_options
        .get(scope, id)
        .map(|row| DhcpOptions::clone(row));
    row.or_else(|| (&default_id(scope) == id).then(|| default_set(scope)))
}

/// Every set, the default one included.
pub fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DhcpOptions> {
    let mut sets: Vec<_> = snapshot
        .dhcp_options
        .in_scope(scope)
        .map(|row| DhcpOptions::clone(row))
        .collect();
    if !snapshot.dhcp_options.contains(scope, default_id(scope)) {
        sets.push(default_set(scope));
    }
    sets.sort_by(|a, b| a.dhcp_options_id.cmp(&b.dhcp_options_id));
    sets
}

/// The set that a VPC uses.
pub fn id_of(vpc: &Vpc) -> DhcpOptionsId {
    vpc.dhcp_options_id
        .clone()
        .unwrap_or_else(|| default_id(&vpc.scope))
}

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    configurations: Vec<Configuration>,
    tags: Tags,
) -> Result<DhcpOptions, Refusal> {
    if configurations.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "dhcpConfiguration",
        });
    }
    let mut options = BTreeMap::new();
    for (key, values) in configurations {
        check(&key, &values)?;
        if options.insert(key.clone(), values).is_some() {
            return Err(Refusal::value(format!(
                "Duplicate DHCP option '{key}' specified."
            )));
        }
    }
    let dhcp_options_id = DhcpOptionsId::from_bits(tx.random());
    let row = DhcpOptions {
        scope: scope.clone(),
        dhcp_options_id,
        options,
        tags,
    };
    tx.put(row.clone());
    Ok(row)
}

fn check(key: &str, values: &[String]) -> Result<(), Refusal> {
    let max = match key {
        "domain-name" | "netbios-node-type" | "ipv6-address-preferred-lease-time" => 1,
        "domain-name-servers" | "ntp-servers" | "netbios-name-servers" => 4,
        _ => return Err(Refusal::parameter("key", key, "Unknown DHCP option")),
    };
    if values.is_empty() || values.len() > max {
        return Err(Refusal::value(format!(
            "DHCP option {key} takes 1 to {max} values"
        )));
    }
    for value in values {
        let good = match key {
            "domain-name" => !value.is_empty() && value.len() <= 255,
            "domain-name-servers" => {
                value == "AmazonProvidedDNS" || value.parse::<std::net::IpAddr>().is_ok()
            }
            "ntp-servers" | "netbios-name-servers" => value.parse::<std::net::IpAddr>().is_ok(),
            "netbios-node-type" => matches!(value.as_str(), "1" | "2" | "4" | "8"),
            _ => value
                .parse::<u32>()
                .is_ok_and(|seconds| (140..=2_147_483_647).contains(&seconds)),
        };
        if !good {
            return Err(Refusal::parameter(key, value, "Invalid DHCP option value"));
        }
    }
    Ok(())
}

/// `None` goes back to the default set.
pub fn associate(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
    dhcp_options_id: Option<&DhcpOptionsId>,
) -> Result<(), Refusal> {
    let chosen = match dhcp_options_id {
        Some(id) if *id == default_id(scope) => None,
        Some(id) if !tx.snapshot().dhcp_options.contains(scope, id) => {
            return Err(Refusal::not_found(ResourceKind::DhcpOptions, id));
        }
        chosen => chosen.cloned(),
    };
    vpcs::get(tx.snapshot(), scope, vpc_id)?;
    tx.update::<Vpc>(scope, vpc_id, |vpc| vpc.dhcp_options_id = chosen);
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &DhcpOptionsId) -> Result<(), Refusal> {
    if find(tx.snapshot(), scope, id.as_str()).is_none() {
        return Err(Refusal::not_found(ResourceKind::DhcpOptions, id));
    }
    if tx
        .snapshot()
        .vpcs
        .in_scope(scope)
        .any(|vpc| id_of(vpc) == *id)
    {
        return Err(Refusal::has_dependents("dhcpOptions", id));
    }
    if *id == default_id(scope) {
        let text = "The default DHCP options set cannot be deleted.".to_owned();
        return Err(Refusal::OperationNotPermitted { text });
    }
    tx.delete::<DhcpOptions>(scope, id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    fn one(key: &str, values: &[&str]) -> Vec<Configuration> {
        vec![(
            key.to_owned(),
            values.iter().map(|v| v.to_string()).collect(),
        )]
    }

    #[test]
    fn the_default_set_is_always_there() {
        let mut tx = Tx::for_test();
        let sets = all(tx.snapshot(), &scope());
        assert_eq!(sets[0].options["domain-name"], ["ec2.internal"]);
        assert_eq!(
            delete(&mut tx, &scope(), &sets[0].dhcp_options_id)
                .unwrap_err()
                .code(),
            "OperationNotPermitted"
        );
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        assert_eq!(id_of(&vpc), sets[0].dhcp_options_id);
        assert_eq!(
            delete(&mut tx, &scope(), &sets[0].dhcp_options_id)
                .unwrap_err()
                .code(),
            "DependencyViolation"
        );
    }

    #[test]
    fn a_set_in_use_is_not_deleted() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let set = create(
            &mut tx,
            &scope(),
            one("domain-name", &["example.test"]),
            Tags::new(),
        )
        .unwrap();
        let id = set.dhcp_options_id;
        associate(&mut tx, &scope(), &vpc.vpc_id, Some(&id)).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &id),
            Err(Refusal::has_dependents("dhcpOptions", &id))
        );
        associate(&mut tx, &scope(), &vpc.vpc_id, None).unwrap();
        delete(&mut tx, &scope(), &id).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &id).unwrap_err().code(),
            "InvalidDhcpOptionID.NotFound"
        );
        assert_eq!(
            associate(&mut tx, &scope(), &vpc.vpc_id, Some(&id))
                .unwrap_err()
                .code(),
            "InvalidDhcpOptionID.NotFound"
        );
    }

    #[test]
    fn bad_options_are_refused() {
        let mut tx = Tx::for_test();
        for (key, values) in [
            ("unknown", &["x"][..]),
            ("domain-name", &[]),
            (
                "domain-name-servers",
                &["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"],
            ),
            ("domain-name-servers", &["1.1.1.256"]),
            ("netbios-node-type", &["3"]),
        ] {
            let refusal = create(&mut tx, &scope(), one(key, values), Tags::new()).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue", "{key}");
        }
        assert!(create(&mut tx, &scope(), Vec::new(), Tags::new()).is_err());
    }
}
