//! Task protection at `ECS_AGENT_URI`: the container asks, the control plane decides.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>
//!
//! As on AWS the agent calls ECS in the task's name; control is the only writer of a task's row.

use std::io;
use std::path::Path;

use fogbank_types::ecs::Task;
use serde_json::{Value, json};

use crate::operator;

/// The call that a request stands for, or what is wrong with its body.
pub fn call(task: &Task, change: Option<&[u8]>) -> Result<(&'static str, Value), &'static str> {
    let Some(body) = change else {
        let input = json!({"cluster": task.cluster, "tasks": [task.arn]});
        return Ok(("GetTaskProtection", input));
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
    let enabled = body
        .get("ProtectionEnabled")
        .and_then(Value::as_bool)
        .ok_or("Invalid request: does not contain 'ProtectionEnabled' field")?;
    let mut input = json!({
        "cluster": task.cluster,
        "tasks": [task.arn],
        "protectionEnabled": enabled,
    });
    match body.get("ExpiresInMinutes") {
        None | Some(Value::Null) => {}
        Some(minutes) if minutes.is_i64() => input["expiresInMinutes"] = minutes.clone(),
        Some(_) => return Err("ExpiresInMinutes is not a number"),
    }
    Ok(("UpdateTaskProtection", input))
}

/// Asks the API at the operator's socket; the status and what it said.
pub async fn ask(
    socket: &Path,
    task: &Task,
    operation: &str,
    input: &Value,
) -> io::Result<(u16, Value)> {
    // Any key is the root of the account that it names there.
    let headers = format!(
        "Content-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: AmazonEC2ContainerServiceV20141113.{operation}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={}/20260101/{}/ecs/aws4_request, SignedHeaders=host, Signature=agent\r\n",
        task.scope.account, task.scope.region,
    );
    operator::post(socket, "/", &headers, input).await
}

/// What the container is told: `protection`, `failure` or `error`, and the status.
pub fn answer(task: &Task, asked: io::Result<(u16, Value)>) -> (u16, Value) {
    let error = |code: &str, message: String| json!({"error": {"Arn": task.arn, "Code": code, "Message": message}});
    let (status, said) = match asked {
        Ok(asked) => asked,
        Err(source) => return (500, error("ServerException", source.to_string())),
    };
    if status != 200 {
        let code = said.get("__type").and_then(Value::as_str).unwrap_or("");
        let code = code.rsplit('#').next().unwrap_or(code);
        let message = ["message", "Message"]
            .iter()
            .find_map(|name| said.get(name));
        let message = message.and_then(Value::as_str).unwrap_or("").to_owned();
        return (status, error(code, message));
    }
    if let Some(failure) = said["failures"].get(0) {
        let failure = json!({"Arn": failure["arn"], "Reason": failure["reason"], "Detail": failure["detail"]});
        return (200, json!({"failure": failure}));
    }
    let known = &said["protectedTasks"][0];
    let mut protection = json!({
        "ProtectionEnabled": known["protectionEnabled"],
        "TaskArn": known["taskArn"],
    });
    if let Some(seconds) = known["expirationDate"].as_f64() {
        let at = fogbank_types::Timestamp((seconds * 1000.0) as i64);
        protection["ExpirationDate"] = super::metadata::instant_s(at).into();
    }
    (200, json!({"protection": protection}))
}
