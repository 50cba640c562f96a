//! EC2 as a client sees it: form bodies in, XML out, through routing, handlers, rules and a store in memory.

use crate::Engine;
use crate::api::{ApiError, Caller, Context, Handlers};
use crate::model::tx::test_config;
use fogbank_store::Memory;
use std::sync::Arc;
use std::sync::mpsc::Sender;

mod diagnosis;
mod interfaces;
mod ipv6;
mod networks;
mod peering;
mod prefix_lists;
mod rules;

/// A control plane without a host.
struct Region {
    engine: Arc<Engine>,
    handlers: Handlers,
    /// Dropped with the region, which ends its runtime.
    _stop: Sender<()>,
}

impl Region {
    fn start() -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let engine = Engine::start(Arc::new(Memory::new()), test_config())
                    .await
                    .unwrap();
                send.send(engine).unwrap();
                let _ = tokio::task::spawn_blocking(move || stopped.recv()).await;
            });
        });
        Self {
            engine: receive.recv().unwrap(),
            handlers: Handlers::all(),
            _stop: stop,
        }
    }

    /// What a caller of the region's own account gets.
    fn context(&self) -> Context {
        let caller = Caller {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: "AKID".to_owned(),
            request_id: String::new(),
            host: "localhost".to_owned(),
        };
        Context::new(caller, self.engine.clone())
    }

    /// Status and body of the answer to an action with its parameters.
    fn send(&self, action: &str, parameters: &str) -> (u16, String) {
        self.send_as("000000000000", "us-east-1", action, parameters)
    }

    /// The same from another account or in another region.
    fn send_as(
        &self,
        account: &str,
        region: &str,
        action: &str,
        parameters: &str,
    ) -> (u16, String) {
        let body = format!("Action={action}&Version=2016-11-15&{parameters}");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/ec2/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=00"
        );
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("authorization", authorization)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let call = match fogbank_wire::route(&parts, body.as_bytes()) {
            Ok(call) => call,
            Err(refused) => return text(refused.response()),
        };
        let mut context = self.context();
        context.caller.account = account.to_owned();
        context.caller.region = call.region.clone();
        context.caller.access_key = call.access_key.clone();
        context.caller.request_id = call.request_id.clone();
        let operation = call.operation;
        let handler = self
            .handlers
            .get(operation.service, operation.name)
            .expect("the operation is served");
        text(match (handler.run)(&context, call.input) {
            Ok(output) => fogbank_wire::encode_output(operation, output, &call.request_id),
            Err(ApiError(error)) => {
                fogbank_wire::encode_error(operation.service, &error, &call.request_id)
            }
        })
    }

    #[track_caller]
    fn ok(&self, action: &str, parameters: &str) -> String {
        let (status, body) = self.send(action, parameters);
        assert_eq!(status, 200, "{action} {parameters}: {body}");
        body
    }

    /// The code of a refusal.
    #[track_caller]
    fn code(&self, action: &str, parameters: &str) -> String {
        let (status, body) = self.send(action, parameters);
        assert_ne!(status, 200, "{action} {parameters}: {body}");
        element(&body, "Code")
    }

    fn vpc(&self) -> String {
        element(&self.ok("CreateVpc", "CidrBlock=10.0.0.0/16"), "vpcId")
    }

    fn subnet(&self, vpc: &str, block: &str) -> String {
        element(
            &self.ok("CreateSubnet", &format!("VpcId={vpc}&CidrBlock={block}")),
            "subnetId",
        )
    }

    fn group(&self, vpc: &str, name: &str) -> String {
        let parameters = format!("VpcId={vpc}&GroupName={name}&GroupDescription={name}");
        element(&self.ok("CreateSecurityGroup", &parameters), "groupId")
    }

    fn gateway(&self, vpc: &str) -> String {
        let gateway = element(&self.ok("CreateInternetGateway", ""), "internetGatewayId");
        self.ok(
            "AttachInternetGateway",
            &format!("InternetGatewayId={gateway}&VpcId={vpc}"),
        );
        gateway
    }
}

fn text(response: http::Response<bytes::Bytes>) -> (u16, String) {
    (
        response.status().as_u16(),
        String::from_utf8(response.body().to_vec()).unwrap(),
    )
}

/// Texts of all elements of that name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned()))
        .collect()
}

#[track_caller]
fn element(xml: &str, name: &str) -> String {
    elements(xml, name)
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("no <{name}> in {xml}"))
}
