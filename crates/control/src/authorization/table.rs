//! The table of actions, read once from `actions.txt`.

use super::template::{Location, Template};
use fogbank_wire::Service;
use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("actions.txt");

/// What an operation asks for.
#[derive(Debug, Default)]
pub struct Row {
    /// `ec2:CreateVpc`; `None`: nobody needs a permission.
    pub action: Option<String>,
    pub resources: Vec<Template>,
    pub also: Vec<Also>,
    /// Condition keys and their values.
    pub keys: Vec<(String, Template)>,
}

/// What an operation asks for beside, if the request has a field.
#[derive(Debug)]
pub enum Also {
    Action {
        field: String,
        action: String,
        resources: Vec<Template>,
    },
    /// A role is handed to a service.
    PassRole {
        field: String,
        role: Template,
        service: String,
    },
}

pub type Table = HashMap<(Service, &'static str), Row>;

pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let read = read(TEXT);
        read.unwrap_or_else(|line| panic!("actions.txt is part of the program, and reads: {line}"))
    });
    &TABLE
}

/// The row of an operation.
pub fn row(service: Service, operation: &'static str) -> Option<&'static Row> {
    table().get(&(service, operation))
}

struct Section {
    service: Service,
    prefix: String,
    location: Location,
}

/// The line that cannot be read, if there is one.
fn read(text: &'static str) -> Result<Table, String> {
    let mut table = Table::new();
    let mut section = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let done = if line.starts_with('[') {
            section = section_of(line);
            section.is_some().then_some(())
        } else {
            section
                .as_ref()
                .and_then(|section| add(&mut table, section, line))
        };
        done.ok_or_else(|| line.to_owned())?;
    }
    Ok(table)
}

fn section_of(line: &str) -> Option<Section> {
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let words: Vec<&str> = inner.split(' ').collect();
    let [service, prefix, location] = words.as_slice() else {
        return None;
    };
    Some(Section {
        service: Service::ALL.into_iter().find(|s| s.name() == *service)?,
        prefix: (*prefix).to_owned(),
        location: match *location {
            "regional" => Location::Regional,
            "global" => Location::Global,
            "nowhere" => Location::Nowhere,
            _ => return None,
        },
    })
}

fn add(table: &mut Table, section: &Section, line: &'static str) -> Option<()> {
    let template = |text: &str| Template::parse(text, &section.prefix, section.location);
    let templates = |text: &str| {
        text.split_whitespace()
            .map(template)
            .collect::<Option<Vec<_>>>()
    };
    let each = |names: &'static str, table: &mut Table, change: &dyn Fn(&mut Row) -> Option<()>| {
        for name in names.split_whitespace() {
            // Only operations of the model have rows.
            section.service.operation(name)?;
            change(table.entry((section.service, name)).or_default())?;
        }
        Some(())
    };
    if let Some((names, rest)) = line.split_once(" sets ") {
        let (key, value) = rest.split_once(": ")?;
        return each(names, table, &|row| {
            row.keys.push((key.to_owned(), template(value)?));
            Some(())
        });
    }
    if let Some((names, rest)) = line.split_once(" if ") {
        let (field, rest) = rest.split_once(' ')?;
        return each(names, table, &|row| {
            let field = field.to_owned();
            row.also
                .push(if let Some(rest) = rest.strip_prefix("passes ") {
                    let (role, service) = rest.split_once(" to ")?;
                    Also::PassRole {
                        field,
                        role: template(role)?,
                        service: service.to_owned(),
                    }
                } else {
                    let (action, resources) = rest.strip_prefix("does ")?.split_once(": ")?;
                    Also::Action {
                        field,
                        action: action.to_owned(),
                        resources: templates(resources)?,
                    }
                });
            Some(())
        });
    }
    let (names, resources) = line.split_once(": ")?;
    for name in names.split_whitespace() {
        let operation = section.service.operation(name)?;
        let row = table.entry((section.service, operation.name)).or_default();
        if row.action.is_some() || !row.resources.is_empty() {
            return None;
        }
        if resources != "-" {
            row.action = Some(format!("{}:{name}", section.prefix));
            row.resources = templates(resources)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Handlers;
    use fogbank_wire::Schema;
    use fogbank_wire::schema::Kind;

    /// An operation without a row would be refused to everybody but the root; it must be found here first.
    #[test]
    fn every_operation_that_is_served_has_a_row() {
        let handlers = Handlers::all();
        let free = ["GetCallerIdentity", "GetSessionToken", "RetireGrant"];
        for service in Service::ALL {
            for operation in service.schema().operations {
                if handlers.get(service, operation.name).is_none() {
                    continue;
                }
                let row = row(service, operation.name);
                let is_whole = row.is_some_and(|row| {
                    row.action.is_some() && !row.resources.is_empty()
                        || !row.also.is_empty()
                        || free.contains(&operation.name)
                });
                assert!(is_whole, "{operation:?} has no row in actions.txt");
            }
        }
    }

    fn has(schema: &Schema, path: &str) -> bool {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(a, b)| (a, Some(b)));
        let schema = match schema.kind {
            Kind::List { element, .. } => element,
            _ => schema,
        };
        let member = schema.members().iter().find(|member| member.name == first);
        member.is_some_and(|member| rest.is_none_or(|rest| has(member.schema, rest)))
    }

    #[test]
    fn every_field_that_the_table_names_is_in_the_model() {
        for ((service, name), row) in table() {
            let operation = service.operation(name).unwrap();
            let mut paths: Vec<&str> = Vec::new();
            paths.extend(row.resources.iter().flat_map(Template::paths));
            paths.extend(row.keys.iter().flat_map(|(_, template)| template.paths()));
            for also in &row.also {
                match also {
                    Also::Action {
                        field, resources, ..
                    } => {
                        paths.push(field);
                        paths.extend(resources.iter().flat_map(Template::paths));
                    }
                    Also::PassRole { field, role, .. } => {
                        paths.push(field);
                        paths.extend(role.paths());
                    }
                }
            }
            for path in paths {
                let is_builtin = ["account", "region"].contains(&path);
                assert!(
                    is_builtin || has(operation.input, path),
                    "{operation:?} has no {path}"
                );
            }
        }
    }

    #[test]
    fn lines_that_say_nothing_are_found() {
        for bad in [
            "CreateVpc: *",
            "[ec2 ec2 somewhere]",
            "[ec2 ec2 regional]\nCreateNothing: *",
            "[ec2 ec2 regional]\nCreateVpc: *\nCreateVpc: *",
            "[ec2 ec2 regional]\nCreateVpc: vpc/{VpcId",
            "[ec2 ec2 regional]\nCreateVpc: vpc/{VpcId@nothing}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
