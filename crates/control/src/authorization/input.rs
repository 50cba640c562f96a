//! Fields of a request by name, whatever its shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Tags;
use fogbank_wire::schema::Kind;
use fogbank_wire::{Schema, Value};

/// A request's input with the schema that says what stands where.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    schema: &'static Schema,
    value: &'a Value,
}

impl<'a> Input<'a> {
    pub fn new(schema: &'static Schema, value: &'a Value) -> Self {
        Self { schema, value }
    }

    /// A member of a structure, if the request has it.
    fn member(self, name: &str) -> Option<Self> {
        let Value::Structure(values) = self.value else {
            return None;
        };
        let place = self.schema.members().iter().position(|m| m.name == name)?;
        let value = values.get(place).filter(|value| !value.is_null())?;
        let schema = self.schema.members()[place].schema;
        Some(Self { schema, value })
    }

    /// The items of a list, or the one that it is itself.
    fn items(self) -> Vec<Self> {
        match (self.value, &self.schema.kind) {
            (Value::List(items), Kind::List { element, .. }) => {
                let each = |value| Self {
                    schema: element,
                    value,
                };
                items.iter().map(each).collect()
            }
            _ => vec![self],
        }
    }

    /// What stands at the end of a path, through lists.
    fn at(self, path: &str) -> Vec<Self> {
        path.split('.').fold(vec![self], |found, name| {
            let members = found.into_iter().filter_map(|one| one.member(name));
            members.flat_map(Self::items).collect()
        })
    }

    /// The texts at the end of a path such as `overrides.taskRoleArn`; a list gives all of its own.
    pub fn texts(self, path: &str) -> Vec<String> {
        self.at(path).into_iter().filter_map(Self::text).collect()
    }

    fn text(self) -> Option<String> {
        match self.value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(truth) => Some(truth.to_string()),
            Value::Blob(bytes) => Some(STANDARD.encode(bytes)),
            _ => None,
        }
    }

    pub fn has(self, path: &str) -> bool {
        !self.at(path).is_empty()
    }

    /// The pairs of a map.
    pub fn map(self, name: &str) -> Vec<(String, String)> {
        self.member(name).map_or_else(Vec::new, Self::pairs)
    }

    /// The tags that the request gives.
    pub fn tags(self) -> Tags {
        let mut tags = Tags::new();
        for name in ["Tags", "tags", "AddTags"] {
            if let Some(given) = self.member(name) {
                tags.extend(given.pairs());
            }
        }
        for (_, own) in self.tag_specifications() {
            tags.extend(own);
        }
        tags
    }

    /// EC2's: the type of what is made, and its tags.
    pub fn tag_specifications(self) -> Vec<(String, Tags)> {
        let specifications = self.at("TagSpecifications").into_iter();
        specifications
            .filter_map(|one| {
                let tags: Tags = one.member("Tags")?.pairs().into_iter().collect();
                Some((one.member("ResourceType")?.text()?, tags))
            })
            .collect()
    }

    /// The keys of tags that it gives or takes.
    pub fn tag_keys(self) -> Vec<String> {
        let mut keys: Vec<String> = self.tags().into_keys().collect();
        for name in ["TagKeys", "tagKeys", "RemoveTagKeys"] {
            keys.extend(self.texts(name));
        }
        keys
    }

    fn pairs(self) -> Vec<(String, String)> {
        if let Value::Map(entries) = self.value {
            let text = |value: &Value| match value {
                Value::String(text) => text.clone(),
                _ => String::new(),
            };
            let all = entries.iter();
            return all.map(|(key, value)| (key.clone(), text(value))).collect();
        }
        let one = |tag: Self| {
            let part = |names: [&str; 3]| names.iter().find_map(|name| tag.member(name));
            let key = part(["Key", "key", "TagKey"])?.text()?;
            let value = part(["Value", "value", "TagValue"]).and_then(Self::text);
            Some((key, value.unwrap_or_default()))
        };
        self.items().into_iter().filter_map(one).collect()
    }
}
