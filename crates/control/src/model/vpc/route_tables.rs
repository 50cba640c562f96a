//! Route tables and whom they serve.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html>

use super::{Quotas, Refusal, ResourceKind, ids, subnets, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &RouteTableId,
) -> Result<&'a Arc<RouteTable>, Refusal> {
    snapshot
        .route_tables
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::RouteTable, id))
}

fn new_table(
    tx: &Tx,
    scope: &Scope,
    route_table_id: RouteTableId,
    vpc_id: &VpcId,
    tags: Tags,
) -> RouteTable {
    RouteTable {
        scope: scope.clone(),
        route_table_id,
        vpc_id: vpc_id.clone(),
        routes: Vec::new(),
        associations: Vec::new(),
        created_at: tx.now(),
        tags,
    }
}

fn new_association(tx: &mut Tx, subnet_id: Option<SubnetId>) -> RouteTableAssociation {
    RouteTableAssociation {
        association_id: RouteTableAssociationId::from_bits(tx.random()),
        subnet_id,
    }
}

/// The table that a VPC is born with.
pub(super) fn create_main(tx: &mut Tx, vpc: &Vpc) {
    let id = RouteTableId::from_bits(tx.random());
    let mut table = new_table(tx, &vpc.scope, id, &vpc.vpc_id, Tags::new());
    table.associations.push(new_association(tx, None));
    tx.put(table);
}

/// A call with the client token of an earlier one answers that one's table.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
    tags: Tags,
    client_token: Option<&str>,
) -> Result<RouteTable, Refusal> {
    vpcs::get(tx.snapshot(), scope, vpc_id)?;
    let id = match client_token {
        Some(token) => ids::derived(scope, &["CreateRouteTable", token]),
        None => RouteTableId::from_bits(tx.random()),
    };
    if let Some(earlier) = tx.snapshot().route_tables.get(scope, &id) {
        return if earlier.vpc_id == *vpc_id {
            Ok(RouteTable::clone(earlier))
        } else {
            Err(Refusal::TokenReused)
        };
    }
    if tx
        .snapshot()
        .route_tables
        .in_scope(scope)
        .filter(|row| row.vpc_id == *vpc_id)
        .count()
        >= Quotas::of(tx.config()).route_tables_per_vpc
    {
        return Err(Refusal::RouteTableLimit {
            vpc_id: vpc_id.to_string(),
        });
    }
    let table = new_table(tx, scope, id, vpc_id, tags);
    tx.put(table.clone());
    Ok(table)
}

/// Neither the main table nor one that serves subnets (fact RTB-9).
pub fn delete(tx: &mut Tx, scope: &Scope, id: &RouteTableId) -> Result<(), Refusal> {
    if !get(tx.snapshot(), scope, id)?.associations.is_empty() {
        return Err(Refusal::has_dependents("routeTable", id));
    }
    tx.delete::<RouteTable>(scope, id);
    Ok(())
}

fn by_association<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &RouteTableAssociationId,
) -> Result<(&'a Arc<RouteTable>, &'a RouteTableAssociation), Refusal> {
    snapshot
        .route_tables
        .in_scope(scope)
        .find_map(|table| {
            Some((
                table,
                table
                    .associations
                    .iter()
                    .find(|a| a.association_id == *id)?,
            ))
        })
        .ok_or_else(|| Refusal::not_found(ResourceKind::RouteTableAssociation, id))
}

/// A subnet has one explicit table at most (fact RTB-8); the same pair again answers the same association.
pub fn associate(
    tx: &mut Tx,
    scope: &Scope,
    id: &RouteTableId,
    subnet_id: &SubnetId,
) -> Result<RouteTableAssociationId, Refusal> {
    let table = get(tx.snapshot(), scope, id)?;
    let subnet = subnets::get(tx.snapshot(), scope, subnet_id)?;
    if table.vpc_id != subnet.vpc_id {
        let (one, other) = (format!("route table {id}"), format!("subnet {subnet_id}"));
        return Err(Refusal::DifferentNetworks { one, other });
    }
    let now = tx
        .snapshot()
        .route_tables
        .in_scope(scope)
        .find_map(|table| {
            let association = table
                .associations
                .iter()
                .find(|a| a.subnet_id.as_ref() == Some(subnet_id))?;
            Some((
                table.route_table_id.clone(),
                association.association_id.clone(),
            ))
        });
    match now {
        Some((now, association_id)) if now == *id => return Ok(association_id),
        Some(_) => {
            return Err(Refusal::TableAssociated {
                route_table_id: id.to_string(),
            });
        }
        None => {}
    }
    let association = new_association(tx, Some(subnet_id.clone()));
    let association_id = association.association_id.clone();
    tx.update::<RouteTable>(scope, id, |table| table.associations.push(association));
    Ok(association_id)
}

/// The subnet falls back to the main table; the main association stays.
pub fn disassociate(
    tx: &mut Tx,
    scope: &Scope,
    id: &RouteTableAssociationId,
) -> Result<(), Refusal> {
    let (table, association) = by_association(tx.snapshot(), scope, id)?;
    if association.subnet_id.is_none() {
        return Err(Refusal::MainAssociation {
            association_id: id.to_string(),
        });
    }
    let table_id = table.route_table_id.clone();
    tx.update::<RouteTable>(scope, &table_id, |table| {
        table.associations.retain(|a| a.association_id != *id)
    });
    Ok(())
}

/// Moves a subnet, or the main association, to another table; answers the association's new id.
pub fn replace_association(
    tx: &mut Tx,
    scope: &Scope,
    id: &RouteTableAssociationId,
    table_id: &RouteTableId,
) -> Result<RouteTableAssociationId, Refusal> {
    let (from, association) = by_association(tx.snapshot(), scope, id)?;
    let to = get(tx.snapshot(), scope, table_id)?;
    if from.vpc_id != to.vpc_id {
        let (one, other) = (
            format!("route table {table_id}"),
            format!("network {}", from.vpc_id),
        );
        return Err(Refusal::DifferentNetworks { one, other });
    }
    if from.route_table_id == *table_id {
        return Ok(id.clone());
    }
    let (from_id, subnet_id) = (from.route_table_id.clone(), association.subnet_id.clone());
    tx.update::<RouteTable>(scope, &from_id, |table| {
        table.associations.retain(|a| a.association_id != *id)
    });
    let association = new_association(tx, subnet_id);
    let association_id = association.association_id.clone();
    tx.update::<RouteTable>(scope, table_id, |table| {
        table.associations.push(association)
    });
    Ok(association_id)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    struct Stage {
        tx: Tx,
        vpc: Vpc,
        subnet: Subnet,
        table: RouteTable,
        main: RouteTable,
    }

    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let main = RouteTable::clone(tx.snapshot().route_tables.all().next().unwrap());
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let table = create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        Stage {
            tx,
            vpc,
            subnet,
            table,
            main,
        }
    }

    #[test]
    fn a_subnet_has_one_explicit_table() {
        let Stage {
            mut tx,
            vpc,
            subnet,
            table,
            main,
        } = stage();
        let first = associate(&mut tx, &scope(), &table.route_table_id, &subnet.subnet_id).unwrap();
        assert_eq!(
            associate(&mut tx, &scope(), &table.route_table_id, &subnet.subnet_id).unwrap(),
            first
        );
        let other = create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        let refusal =
            associate(&mut tx, &scope(), &other.route_table_id, &subnet.subnet_id).unwrap_err();
        assert_eq!(refusal.code(), "Resource.AlreadyAssociated");
        let second = replace_association(&mut tx, &scope(), &first, &other.route_table_id).unwrap();
        assert_ne!(first, second);
        assert_eq!(
            tx.snapshot()
                .route_table_of(&subnet)
                .unwrap()
                .route_table_id,
            other.route_table_id
        );
        assert_eq!(
            disassociate(&mut tx, &scope(), &first).unwrap_err().code(),
            "InvalidAssociationID.NotFound"
        );
        disassociate(&mut tx, &scope(), &second).unwrap();
        assert_eq!(
            tx.snapshot()
                .route_table_of(&subnet)
                .unwrap()
                .route_table_id,
            main.route_table_id
        );
    }

    #[test]
    fn tables_in_use_and_the_main_one_stay() {
        let Stage {
            mut tx,
            subnet,
            table,
            main,
            ..
        } = stage();
        associate(&mut tx, &scope(), &table.route_table_id, &subnet.subnet_id).unwrap();
        for id in [&table.route_table_id, &main.route_table_id] {
            assert_eq!(
                delete(&mut tx, &scope(), id),
                Err(Refusal::has_dependents("routeTable", id))
            );
        }
        let association = main.associations[0].association_id.clone();
        assert_eq!(
            disassociate(&mut tx, &scope(), &association)
                .unwrap_err()
                .code(),
            "InvalidParameterValue"
        );
    }

    #[test]
    fn another_table_becomes_main() {
        let Stage {
            mut tx,
            table,
            main,
            ..
        } = stage();
        let association = main.associations[0].association_id.clone();
        replace_association(&mut tx, &scope(), &association, &table.route_table_id).unwrap();
        assert!(
            get(tx.snapshot(), &scope(), &table.route_table_id)
                .unwrap()
                .is_main()
        );
        delete(&mut tx, &scope(), &main.route_table_id).unwrap();
    }

    #[test]
    fn table_and_subnet_must_be_of_one_vpc() {
        let Stage { mut tx, table, .. } = stage();
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let foreign = subnet(&mut tx, &other, "10.1.0.0/24");
        let refusal =
            associate(&mut tx, &scope(), &table.route_table_id, &foreign.subnet_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
        let other_main = tx
            .snapshot()
            .route_tables
            .all()
            .find(|t| t.vpc_id == other.vpc_id)
            .unwrap();
        let association = other_main.associations[0].association_id.clone();
        assert!(
            replace_association(&mut tx, &scope(), &association, &table.route_table_id).is_err()
        );
    }

    #[test]
    fn a_client_token_names_one_table() {
        let Stage { mut tx, vpc, .. } = stage();
        let first = create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), Some("t")).unwrap();
        assert_eq!(
            create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), Some("t")).unwrap(),
            first
        );
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let reused = create(&mut tx, &scope(), &other.vpc_id, Tags::new(), Some("t"));
        assert_eq!(reused, Err(Refusal::TokenReused));
    }
}
