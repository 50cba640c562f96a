//! What a request says of itself, by condition key.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>

use std::collections::HashMap;

/// Values by condition key. Keys have no case: they are kept in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions(HashMap<String, Vec<String>>);

impl Conditions {
    /// Sets a key's one value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_lowercase(), vec![value.into()]);
    }

    /// Sets the values of a key that may have several, or none.
    pub fn set_list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        self.0
            .insert(key.to_lowercase(), values.into_iter().collect());
    }

    /// A key that the request does not have.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(&key.to_lowercase());
    }

    /// By a key in lower case.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// All that `other` says is said here too, and goes first.
    pub fn extend(&mut self, other: Conditions) {
        self.0.extend(other.0);
    }

    /// Keys and values, by key.
    pub fn sorted(&self) -> Vec<(&str, &[String])> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(key, values)| (key.as_str(), values.as_slice()))
            .collect();
        all.sort_unstable();
        all
    }
}

/// A request's conditions with those of the one resource that is judged.
#[derive(Clone, Copy)]
pub struct View<'a> {
    request: &'a Conditions,
    resource: &'a Conditions,
}

impl<'a> View<'a> {
    pub fn new(request: &'a Conditions, resource: &'a Conditions) -> Self {
        Self { request, resource }
    }

    /// By a key in lower case.
    pub fn get(&self, key: &str) -> Option<&'a [String]> {
        self.resource.get(key).or_else(|| self.request.get(key))
    }
}
