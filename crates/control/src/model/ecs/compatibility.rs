//! What a task definition can run on: Fargate, which this region has, or container instances, which it has none of.
//!
//! Called by `task_definitions::register`, and by what starts tasks. What must stay true: a definition that passes
//! [`with_fargate`] can be carried out by a host as it stands; any other is kept and shown, and never started.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>

use super::container_definitions::{self, Platform};
use super::task_definitions::NewTaskDefinition;
use super::{Refusal, client, fargate, invalid};
use fogbank_types::ecs::TaskDefinition;

/// "If no network mode is specified, the default is bridge."
pub const NETWORK_MODE: &str = "bridge";
const COMPATIBILITIES: [&str; 4] = ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"];
const NETWORK_MODES: [&str; 4] = ["bridge", "host", "awsvpc", "none"];
const CONSTRAINTS_MAX: usize = 10;

pub fn check_named(compatibilities: &[String]) -> Result<(), Refusal> {
    match compatibilities
        .iter()
        .find(|name| !COMPATIBILITIES.contains(&name.as_str()))
    {
        Some(other) => Err(client(format!(
            "Invalid compatibility '{other}'. Valid values are [{}].",
            COMPATIBILITIES.join(", ")
        ))),
        None => Ok(()),
    }
}

pub fn asks_for_fargate(new: &NewTaskDefinition) -> bool {
    new.requires_compatibilities
        .iter()
        .any(|name| name == "FARGATE")
}

/// CPU units and memory in MiB, if Fargate can run it.
pub fn with_fargate(new: &NewTaskDefinition) -> Result<(u32, u32), Refusal> {
    if new.network_mode.as_deref() != Some("awsvpc") {
        return Err(client(
            "Fargate only supports network mode \u{2018}awsvpc\u{2019}.",
        ));
    }
    let Some(cpu) = new.cpu.as_deref() else {
        return Err(client(
            "Fargate requires that 'cpu' be defined at the task level.",
        ));
    };
    let Some(memory) = new.memory.as_deref() else {
        return Err(client(
            "Fargate requires that 'memory' be defined at the task level.",
        ));
    };
    let (cpu, memory_mib) = (fargate::cpu(cpu)?, fargate::memory_mib(memory)?);
    fargate::check_size(cpu, memory_mib)?;
    if let Some(gib) = new.ephemeral_storage_gib
        && !(21..=200).contains(&gib)
    {
        return Err(client(if gib < 21 {
            "EphemeralStorage size should be at least 21."
        } else {
            "EphemeralStorage size should be at most 200."
        }));
    }
    if let Some(mode) = new.pid_mode.as_deref()
        && mode != "task"
    {
        return Err(client(format!(
            "Tasks using the Fargate launch type do not support pidMode '{mode}'. The supported value for pidMode is 'task'."
        )));
    }
    for (given, what) in [
        (new.ipc_mode.is_some(), "ipcMode"),
        (!new.placement_constraints.is_empty(), "constraints"),
        (
            new.volumes
                .iter()
                .any(|volume| volume.source_path.is_some()),
            "sourcePath",
        ),
    ] {
        if given {
            return Err(client(format!(
                "Fargate compatible task definitions do not support {what}"
            )));
        }
    }
    check_platform(new)?;
    container_definitions::check(new, Platform::Fargate { cpu, memory_mib })?;
    Ok((cpu, memory_mib))
}

/// CPU units and memory in MiB, zero where not given, if container instances could run it.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters_ec2.html>
pub fn with_instances(new: &NewTaskDefinition) -> Result<(u32, u32), Refusal> {
    let mode = new.network_mode.as_deref().unwrap_or(NETWORK_MODE);
    one_of("networkMode", mode, &NETWORK_MODES)?;
    let pid_mode = new.pid_mode.as_deref().unwrap_or("task");
    one_of("pidMode", pid_mode, &["host", "task"])?;
    let ipc_mode = new.ipc_mode.as_deref().unwrap_or("none");
    one_of("ipcMode", ipc_mode, &["host", "task", "none"])?;
    if new.ephemeral_storage_gib.is_some() {
        return Err(client(
            "EphemeralStorage is only supported for tasks hosted on Fargate.",
        ));
    }
    if new.placement_constraints.len() > CONSTRAINTS_MAX {
        return Err(client(format!(
            "placementConstraints can have at most {CONSTRAINTS_MAX} items."
        )));
    }
    for (kind, _) in &new.placement_constraints {
        one_of("placementConstraints.type", kind, &["memberOf"])?;
    }
    let cpu = new.cpu.as_deref().map_or(Ok(0), fargate::cpu)?;
    let memory_mib = new.memory.as_deref().map_or(Ok(0), fargate::memory_mib)?;
    container_definitions::check(
        new,
        Platform::Instances {
            cpu: new.cpu.is_some().then_some(cpu),
            memory_mib: new.memory.is_some().then_some(memory_mib),
        },
    )?;
    Ok((cpu, memory_mib))
}

fn one_of(what: &str, value: &str, known: &[&str]) -> Result<(), Refusal> {
    if known.contains(&value) {
        return Ok(());
    }
    Err(client(format!(
        "Invalid '{what}' setting '{value}'. Valid values are [{}].",
        known.join(", ")
    )))
}

/// What a definition is good for, as it is shown.
pub fn shown(definition: &TaskDefinition) -> Vec<&'static str> {
    match definition.network_mode.as_str() {
        "awsvpc" if definition.fits_fargate => vec!["EC2", "FARGATE"],
        // "Tasks that run on external instances must use the bridge, host, or none network modes" and no interface.
        "awsvpc" => vec!["EC2"],
        _ => vec!["EXTERNAL", "EC2"],
    }
}

/// Refuses a start of the definition on that launch type.
pub fn check_launch(definition: &TaskDefinition, launch_type: &str) -> Result<(), Refusal> {
    if launch_type == "FARGATE" && !definition.fits_fargate {
        return Err(invalid(
            "Task definition does not support launch_type FARGATE.",
        ));
    }
    Ok(())
}

fn check_platform(new: &NewTaskDefinition) -> Result<(), Refusal> {
    let Some((architecture, system)) = &new.runtime_platform else {
        return Ok(());
    };
    if architecture.as_deref().is_some_and(|a| a != "X86_64") {
        return Err(client(
            "The cpuArchitecture ARM64 is not offered yet, only X86_64 is.",
        ));
    }
    if system.as_deref().is_some_and(|s| s != "LINUX") {
        return Err(client(
            "Windows containers are not offered; operatingSystemFamily must be LINUX.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::ecs::fixture::{definition, scope};
    use crate::model::ecs::task_definitions::register;

    fn for_instances(
        change: impl FnOnce(&mut NewTaskDefinition),
    ) -> Result<TaskDefinition, Refusal> {
        let mut new = definition("api");
        new.requires_compatibilities = vec!["EC2".to_owned()];
        (new.network_mode, new.cpu, new.memory) = (None, None, None);
        new.containers[0].memory_mib = Some(400);
        change(&mut new);
        register(&mut Tx::for_test(), &scope(), new)
    }

    #[test]
    fn a_definition_for_instances_needs_no_size_and_is_in_bridge_mode() {
        let made = for_instances(|_| {}).unwrap();
        assert_eq!((made.cpu, made.memory_mib), (0, 0));
        assert_eq!(made.network_mode, "bridge");
        assert_eq!(shown(&made), ["EXTERNAL", "EC2"]);
        let refused = check_launch(&made, "FARGATE").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Task definition does not support launch_type FARGATE."
        );
        assert!(check_launch(&made, "EC2").is_ok());
    }

    #[test]
    fn a_container_on_an_instance_says_its_memory() {
        let refused = for_instances(|d| d.containers[0].memory_mib = None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Invalid setting for container 'main'. At least one of 'memory' or 'memoryReservation' must be specified."
        );
        let with_task_memory = for_instances(|d| {
            d.containers[0].memory_mib = None;
            d.memory = Some("512".to_owned());
        });
        assert_eq!(with_task_memory.unwrap().memory_mib, 512);
    }

    #[test]
    fn what_no_instance_can_do_is_refused() {
        assert!(for_instances(|d| d.network_mode = Some("mesh".into())).is_err());
        assert!(for_instances(|d| d.placement_constraints = vec![("apart".into(), None)]).is_err());
        let kept = for_instances(|d| {
            d.placement_constraints = vec![("memberOf".into(), Some("x".into()))]
        });
        assert!(!kept.unwrap().fits_fargate);
    }

    #[test]
    fn a_definition_that_asks_for_nothing_and_fits_both_runs_on_fargate() {
        let mut new = definition("api");
        new.requires_compatibilities.clear();
        let made = register(&mut Tx::for_test(), &scope(), new).unwrap();
        assert!(made.fits_fargate);
        assert_eq!(shown(&made), ["EC2", "FARGATE"]);
    }
}
