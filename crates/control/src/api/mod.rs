//! From shapes to commands and back. One folder a service, one file a resource; no rule of AWS's lives here.

use crate::authorization::{self, Origin};
use crate::engine::Engine;
use crate::identity::Principal;
use crate::insights::Queries;
use crate::model::vpc::default_vpc;
use crate::model::{Refused, Tx};
use fogbank_pki::Session;
use fogbank_store::series::SeriesStore;
use fogbank_types::{RegionConfig, Scope, Snapshot, Timestamp};
use fogbank_wire::{Service, ServiceError, Value};
use std::collections::HashMap;
use std::sync::Arc;

pub mod acm;
pub mod application_autoscaling;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod ec2;
pub mod ecr;
pub mod ecs;
pub mod elbv2;
pub mod iam;
pub mod kms;
pub mod logs;
mod page;
pub mod route53;
pub mod secretsmanager;
pub mod servicediscovery;
pub mod ssm;
pub mod sts;

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    pub region: String,
    pub access_key: String,
    pub request_id: String,
    /// The request's Host header, port included.
    pub host: String,
}

/// What a handler may use.
pub struct Context {
    pub caller: Caller,
    principal: Principal,
    /// How the call came in, where IAM was asked if the caller may.
    enforced: Option<Origin>,
    engine: Arc<Engine>,
}

impl Context {
    /// For the root of the caller's account.
    pub fn new(caller: Caller, engine: Arc<Engine>) -> Self {
        Self {
            principal: Principal::root(&caller.account, &caller.access_key),
            enforced: None,
            caller,
            engine,
        }
    }

    pub fn with_principal(self, principal: Principal, enforced: Option<Origin>) -> Self {
        Self {
            principal,
            enforced,
            ..self
        }
    }

    /// Whether permissions count for this call; IAM has allowed it then.
    pub fn is_enforced(&self) -> bool {
        self.enforced.is_some()
    }

    /// Whether the caller may do that to a resource that the request itself does not name; where nothing is enforced,
    /// everybody may.
    pub fn may(&self, action: &str, arn: &str) -> Result<(), ApiError> {
        let Some(origin) = &self.enforced else {
            return Ok(());
        };
        let (snapshot, scope) = (self.snapshot(), self.scope());
        let party = &self.principal.party;
        let decision =
            authorization::judge_one(&snapshot, &scope, party, origin, self.now(), action, arn);
        match decision.is_allowed() {
            true => Ok(()),
            false => Err(ApiError::new(
                "AccessDeniedException",
                decision.refusal(&party.arn),
            )),
        }
    }

    /// Who calls.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The temporary credentials that the caller has, if they are of this region.
    pub fn session(&self) -> Option<&Session> {
        self.principal.session.as_ref()
    }

    /// The caller's account and the region called.
    pub fn scope(&self) -> Scope {
        Scope::new(&self.caller.account, &self.caller.region)
    }

    /// All rows as they stand now.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// What metrics are kept in.
    pub fn metrics(&self) -> &SeriesStore {
        self.engine.metrics()
    }

    /// Queries of Logs Insights.
    pub fn queries(&self) -> &Queries {
        self.engine.queries()
    }

    /// The engine, for what does more than rows.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn config(&self) -> &RegionConfig {
        self.engine.config()
    }

    /// Whether the caller's account has used the region before, or asks a service that has nothing in networks.
    pub fn is_settled(&self, service: Service) -> bool {
        !matches!(service, Service::Ec2 | Service::Elbv2 | Service::Ecs)
            || default_vpc::is_settled(&self.snapshot(), &self.scope())
    }

    /// Makes what an account finds in a region when it comes for the first time. Blocks.
    pub fn settle(&self) -> Result<(), ApiError> {
        let scope = self.scope();
        self.write(|tx| {
            default_vpc::ensure(tx, &scope);
            Ok(())
        })
    }

    /// Commits what `change` does in one transaction. Runs it again if somebody else changed the same rows meanwhile,
    /// so it must have no effect but on `tx`. If hosts are concerned, waits at most a second until they act by it;
    /// success does not depend on them.
    pub fn write<R>(
        &self,
        change: impl FnMut(&mut Tx) -> Result<R, ApiError>,
    ) -> Result<R, ApiError> {
        let (result, revision) = self.engine.write(change)?;
        if let Some(revision) = revision {
            self.engine.wait_for_hosts(revision);
        }
        Ok(result)
    }
}

/// The answer to a refused call.
#[derive(Debug)]
pub struct ApiError(pub ServiceError);

impl ApiError {
    /// A refusal with status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(ServiceError::new(code, 400, message))
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }
}

impl<R: Refused> From<R> for ApiError {
    fn from(refusal: R) -> Self {
        Self::new(refusal.code(), refusal.to_string()).with_status(refusal.status())
    }
}

impl From<fogbank_wire::Mismatch> for ApiError {
    /// The handler and the model disagree about a shape: our fault, not the caller's.
    fn from(mismatch: fogbank_wire::Mismatch) -> Self {
        tracing::error!(%mismatch, "an input does not fit its shape");
        Self::new(
            "InternalError",
            "The region failed while it read the request.",
        )
        .with_status(500)
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        Self(error)
    }
}

/// An operation that is served.
pub struct Handler {
    pub service: Service,
    pub operation: &'static str,
    /// Whether it may block on the store or on files; if not, it is answered on the spot.
    pub blocking: bool,
    pub run: fn(&Context, Value) -> Result<Value, ApiError>,
}

/// Declares the handlers of a service:
/// `handlers! { Ec2: read DescribeVpcs => vpcs::describe, write CreateVpc => vpcs::create, }`.
/// `read` answers from the snapshot and never blocks; `write` may commit or touch files.
macro_rules! handlers {
    ($service:ident: $($mode:ident $operation:ident => $function:path,)*) => {
        /// The operations of this service that are built.
        pub fn handlers() -> Vec<$crate::api::Handler> {
            vec![$($crate::api::Handler {
                service: fogbank_wire::Service::$service,
                operation: stringify!($operation),
                blocking: $crate::api::handlers!(@blocking $mode),
                run: |context, input| {
                    let input = fogbank_wire::Shape::from_value(input)?;
                    let output = $function(context, input)?;
                    Ok(fogbank_wire::Shape::into_value(output))
                },
            },)*]
        }
    };
    (@blocking read) => { false };
    (@blocking write) => { true };
}
pub(crate) use handlers;

/// Every operation that is built, by service and name.
pub struct Handlers(HashMap<(Service, &'static str), Handler>);

impl Handlers {
    /// All handlers of all services.
    pub fn all() -> Self {
        let services = [
            acm::handlers(),
            application_autoscaling::handlers(),
            cloudtrail::handlers(),
            cloudwatch::handlers(),
            ec2::handlers(),
            ecr::handlers(),
            ecs::handlers(),
            elbv2::handlers(),
            iam::handlers(),
            kms::handlers(),
            logs::handlers(),
            route53::handlers(),
            secretsmanager::handlers(),
            servicediscovery::handlers(),
            ssm::handlers(),
            sts::handlers(),
        ];
        Self(
            services
                .into_iter()
                .flatten()
                .map(|handler| ((handler.service, handler.operation), handler))
                .collect(),
        )
    }

    pub fn get(&self, service: Service, operation: &'static str) -> Option<&Handler> {
        self.0.get(&(service, operation))
    }

    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = (Service, &'static str)> + '_ {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// What docs/served.md says of operations.
    fn served() -> String {
        let handlers = Handlers::all();
        let mut text = String::from(
            "# What is served\n\nMade by a test in `crates/control/src/api/mod.rs`; `FOGBANK_BLESS=1 cargo test -p fogbank-control served` writes it anew.\n\
             An operation that is not built answers with AWS's error for an unknown action and is counted in `fogbank status`.\n\
             What a served operation does not offer yet (network load balancers, TLS between services, predictive scaling...) it\n\
             refuses by name.\n",
        );
        for service in Service::ALL {
            let (built, open): (Vec<_>, Vec<_>) = service
                .schema()
                .operations
                .iter()
                .map(|o| o.name)
                .partition(|name| handlers.get(service, name).is_some());
            let _ = write!(
                text,
                "\n## {}\n\n{} operations: {}\n",
                service.name(),
                built.len(),
                built.join(", ")
            );
            if !open.is_empty() {
                let _ = write!(text, "\nModelled, not built: {}\n", open.join(", "));
            }
        }
        text
    }

    #[test]
    fn the_page_of_served_operations_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/served.md");
        if std::env::var_os("FOGBANK_BLESS").is_some() {
            std::fs::write(path, served()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), served());
    }

    #[test]
    fn every_handler_is_of_an_operation_in_the_model() {
        for (service, name) in Handlers::all().0.keys() {
            assert!(
                service.operation(name).is_some(),
                "{}:{name}",
                service.name()
            );
        }
    }
}
