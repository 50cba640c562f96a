//! The data: orders in memory, with the rules of a shop.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

const ITEMS_MAX: usize = 50;
const ORDERS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Order {
    pub id: u64,
    pub customer: String,
    pub items: Vec<Item>,
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub article: String,
    pub quantity: u32,
}

#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Open,
    Shipped,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    customer: String,
    items: Vec<Item>,
}

/// Why a request is not carried out.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    NotFound,
    Malformed(String),
    AlreadyShipped,
    Full,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Malformed(_) => 400,
            Self::AlreadyShipped => 409,
            Self::Full => 507,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such order"),
            Self::Malformed(why) => write!(f, "malformed order: {why}"),
            Self::AlreadyShipped => f.write_str("the order was shipped already"),
            Self::Full => f.write_str("no room for more orders"),
        }
    }
}

/// All orders by id.
#[derive(Default)]
pub struct Orders {
    orders: BTreeMap<u64, Order>,
    last_id: u64,
}

impl Orders {
    /// Three orders, so that a new task has something to show.
    pub fn with_samples() -> Self {
        let mut orders = Self::default();
        for (customer, article, quantity) in [
            ("ada", "lamp", 2),
            ("grace", "compass", 1),
            ("alan", "paper", 500),
        ] {
            let item = Item {
                article: article.to_owned(),
                quantity,
            };
            orders.insert(customer.to_owned(), vec![item]);
        }
        orders
    }

    fn insert(&mut self, customer: String, items: Vec<Item>) -> Order {
        self.last_id += 1;
        let order = Order {
            id: self.last_id,
            customer,
            items,
            status: Status::Open,
        };
        self.orders.insert(order.id, order.clone());
        order
    }

    pub fn list(&self, status: Option<&str>) -> Vec<Order> {
        let wanted = |order: &&Order| match status {
            Some("open") => order.status == Status::Open,
            Some("shipped") => order.status == Status::Shipped,
            Some(_) => false,
            None => true,
        };
        self.orders.values().filter(wanted).cloned().collect()
    }

    pub fn get(&self, id: &str) -> Result<Order, Refusal> {
        let id: u64 = id.parse().map_err(|_| Refusal::NotFound)?;
        self.orders.get(&id).cloned().ok_or(Refusal::NotFound)
    }

    pub fn create(&mut self, body: &[u8]) -> Result<Order, Refusal> {
        let new: NewOrder =
            serde_json::from_slice(body).map_err(|e| Refusal::Malformed(e.to_string()))?;
        if new.customer.trim().is_empty() {
            return Err(Refusal::Malformed("customer is empty".to_owned()));
        }
        if new.items.is_empty() || new.items.len() > ITEMS_MAX {
            return Err(Refusal::Malformed(format!(
                "an order has 1 to {ITEMS_MAX} items"
            )));
        }
        if new.items.iter().any(|item| item.quantity == 0) {
            return Err(Refusal::Malformed("a quantity is at least 1".to_owned()));
        }
        if self.orders.len() >= ORDERS_MAX {
            return Err(Refusal::Full);
        }
        Ok(self.insert(new.customer, new.items))
    }

    pub fn ship(&mut self, id: &str) -> Result<Order, Refusal> {
        let id: u64 = id.parse().map_err(|_| Refusal::NotFound)?;
        let order = self.orders.get_mut(&id).ok_or(Refusal::NotFound)?;
        if order.status == Status::Shipped {
            return Err(Refusal::AlreadyShipped);
        }
        order.status = Status::Shipped;
        Ok(order.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_made_shipped_once_and_found() {
        let mut orders = Orders::default();
        let order = orders
            .create(br#"{"customer":"ada","items":[{"article":"lamp","quantity":1}]}"#)
            .unwrap();
        let id = order.id.to_string();
        assert_eq!(orders.ship(&id).unwrap().status, Status::Shipped);
        assert_eq!(orders.ship(&id), Err(Refusal::AlreadyShipped));
        assert_eq!(orders.list(Some("shipped")).len(), 1);
        assert_eq!(orders.list(Some("open")).len(), 0);
    }

    #[test]
    fn bad_orders_change_nothing() {
        let mut orders = Orders::default();
        for bad in [
            "",
            "{",
            "[]",
            r#"{"customer":"","items":[]}"#,
            r#"{"customer":"a","items":[]}"#,
            r#"{"customer":"a","items":[{"article":"b","quantity":0}]}"#,
            r#"{"customer":"a","items":[{"article":"b","quantity":-1}]}"#,
            r#"{"customer":"a","items":[{"article":"b","quantity":1}],"x":1}"#,
        ] {
            assert!(
                matches!(orders.create(bad.as_bytes()), Err(Refusal::Malformed(_))),
                "{bad}"
            );
        }
        assert!(orders.list(None).is_empty());
        assert_eq!(orders.get("x"), Err(Refusal::NotFound));
    }
}
