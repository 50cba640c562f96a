//! Parameters whose policy lets them expire go at that time, and secrets at the end of their recovery window.

use crate::model::Tx;
use crate::model::ssm::policies;
use fogbank_types::Timestamp;
use fogbank_types::secret::Secret;
use fogbank_types::ssm::Parameter;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let mut next: Option<Timestamp> = None;
    let mut is_due = |at: Timestamp| {
        if at > now {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        at <= now
    };
    let mut parameters = Vec::new();
    for row in tx.snapshot().parameters.all() {
        let text = row.latest().and_then(|latest| latest.policies.as_deref());
        let policies = text.map(policies::list).unwrap_or_default();
        if policies
            .iter()
            .filter_map(|policy| policy.expires_at)
            .any(&mut is_due)
        {
            parameters.push((row.scope.clone(), row.name.clone()));
        }
    }
    let mut secrets = Vec::new();
    for row in tx.snapshot().secrets.all() {
        if row.deleted_at.is_some_and(|(_, gone_at)| is_due(gone_at)) {
            secrets.push((row.scope.clone(), row.arn.clone()));
        }
    }
    for (scope, name) in parameters {
        tx.delete::<Parameter>(&scope, name);
    }
    for (scope, arn) in secrets {
        tx.delete::<Secret>(&scope, arn);
    }
    next
}
