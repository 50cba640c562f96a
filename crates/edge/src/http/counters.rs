//! What a node counts: the raw numbers of the AWS/ApplicationELB metrics (fact HTTP-16). Used everywhere in
//! `http`; read through the control socket. They only grow, but for the gauges.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($(#[$doc:meta])* $live:ident, $told:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $live {
            $(pub $field: Counter,)*
        }

        /// The same at one moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $told {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $live {
            pub fn told(&self) -> $told {
                $told { $($field: self.$field.get(),)* }
            }
        }
    };
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Of the node.
    Counters, NodeCounts {
        requests,
        new_connections,
        /// A gauge.
        active_connections,
        rule_evaluations,
        /// From clients and to them.
        processed_bytes,
        elb_3xx,
        elb_4xx,
        elb_5xx,
        elb_500,
        elb_502,
        elb_503,
        elb_504,
        /// The client left before the response was through.
        client_left_460,
        redirects,
        fixed_responses,
        desync_refused,
        /// ClientTLSNegotiationErrorCount.
        client_tls_errors,
    }
}

counters! {
    /// Of a target group, as this node sees it.
    GroupCounters, GroupCounts {
        requests,
        target_2xx,
        target_3xx,
        target_4xx,
        target_5xx,
        target_connection_errors,
        /// TargetTLSNegotiationErrorCount.
        target_tls_errors,
        /// All requests together, from the last byte sent to the first received.
        response_time_us,
    }
}

impl Counters {
    /// An answer of the node's own.
    pub fn own_answer(&self, status: u16) {
        match status {
            300..400 => self.elb_3xx.add(1),
            400..500 => self.elb_4xx.add(1),
            500..600 => self.elb_5xx.add(1),
            _ => {}
        }
        match status {
            500 => self.elb_500.add(1),
            502 => self.elb_502.add(1),
            503 => self.elb_503.add(1),
            504 => self.elb_504.add(1),
            _ => {}
        }
    }
}

impl GroupCounters {
    pub fn response(&self, status: u16) {
        match status {
            200..300 => self.target_2xx.add(1),
            300..400 => self.target_3xx.add(1),
            400..500 => self.target_4xx.add(1),
            500.. => self.target_5xx.add(1),
            _ => {}
        }
    }
}
