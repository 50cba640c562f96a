//! What a node counts: the raw numbers of the AWS/ApplicationELB metrics (fact HTTP-16). Used everywhere in
//! `http`; read through the control socket. They only grow, but for the gauges.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Times};

/// "The first 10 processed rules are free": Elastic Load Balancing pricing.
const FREE_RULES: u64 = 10;

macro_rules! counters {
    ($(#[$doc:meta])* $live:ident, $told:ident { $($(#[$field_doc:meta])* $field:ident,)* } beside { $($(#[$beside_doc:meta])* $beside:ident: $live_type:ty => $told_type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $live {
            $(pub $field: Counter,)*
            $(pub $beside: $live_type,)*
        }

        /// The same at one moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $told {
            $($(#[$field_doc])* pub $field: u64,)*
            $($(#[$beside_doc])* pub $beside: $told_type,)*
        }

        impl $live {
            fn read(&self) -> $told {
                $told { $($field: self.$field.get(),)* ..$told::default() }
            }
        }

        impl $told {
            /// Without gauges, what came since an earlier moment; gauges as they are now.
            fn since_counters(&self, earlier: &Self) -> Self {
                $told { $($field: self.$field.saturating_sub(earlier.$field),)* ..self.clone() }
            }

            fn add_counters(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

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
        /// Those that came, answered by whom ever.
        requests,
        /// With clients.
        new_connections,
        /// With targets.
        new_target_connections,
        /// At the limit of connections, and nobody idle to make room.
        rejected_connections,
        client_tls_errors,
        /// The default rule left out.
        rule_evaluations,
        /// The ten of each request that AWS doesn't charge for left out.
        charged_rule_evaluations,
        /// From clients and to them.
        processed_bytes,
        ipv6_requests,
        ipv6_processed_bytes,
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
        /// Requests that don't comply with RFC 7230, forwarded or not.
        desync_noncompliant,
        desync_refused,
        /// Requests that had headers with invalid names, which were left out, or went on.
        invalid_headers_dropped,
        invalid_headers_forwarded,
        /// Users that logged in.
        auth_successes,
        /// Logins that failed by what user or browser brought.
        auth_failures,
        /// Logins that failed by the provider, or the way to it.
        auth_errors,
        auth_refreshes,
        auth_claims_too_large,
        token_successes,
        token_failures,
        /// A sticky group chose anew: by load balancer cookie, by application cookie.
        non_sticky_requests,
        app_cookie_non_sticky_requests,
        /// A connection's task panicked; the others went on.
        panics,
    }
    beside {
        /// What providers took to tell who a user is.
        auth_times: Histogram => Times,
        /// With clients.
        active_connections: Counter => u64,
        /// Told by the logs themselves.
        log_lines_dropped: () => u64,
    }
}

counters! {
    /// Of a target group, as this node sees it.
    GroupCounters, GroupCounts {
        /// A target was chosen for them.
        requests,
        grpc_requests,
        target_2xx,
        target_3xx,
        target_4xx,
        target_5xx,
        target_connection_errors,
        target_tls_errors,
        /// Sent to any target, because too few were healthy.
        unhealthy_routing_requests,
    }
    beside {
        /// From the last byte sent to the first received.
        response_times: Histogram => Times,
        /// Targets that weighted random found to be worse than the others.
        anomalous_targets: Counter => u64,
        mitigated_targets: Counter => u64,
    }
}

impl Counters {
    pub fn told(&self) -> NodeCounts {
        NodeCounts {
            auth_times: self.auth_times.told(),
            active_connections: self.active_connections.get(),
            ..self.read()
        }
    }
}

impl GroupCounters {
    pub fn told(&self) -> GroupCounts {
        GroupCounts {
            response_times: self.response_times.told(),
            anomalous_targets: self.anomalous_targets.get(),
            mitigated_targets: self.mitigated_targets.get(),
            ..self.read()
        }
    }
}

impl NodeCounts {
    /// What came since an earlier moment; gauges as they are now.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.since_counters(earlier);
        since.auth_times = self.auth_times.since(&earlier.auth_times);
        since
    }

    /// Adds what a predecessor counted.
    pub fn add(&mut self, other: &Self) {
        self.add_counters(other);
        self.auth_times.add(&other.auth_times);
    }
}

impl GroupCounts {
    /// What came since an earlier moment; gauges as they are now.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.since_counters(earlier);
        since.response_times = self.response_times.since(&earlier.response_times);
        since
    }

    /// Adds what a predecessor counted.
    pub fn add(&mut self, other: &Self) {
        self.add_counters(other);
        self.response_times.add(&other.response_times);
    }
}

impl Counters {
    /// Bytes from or to a client.
    pub fn moved(&self, bytes: u64, client: SocketAddr) {
        self.processed_bytes.add(bytes);
        if client.is_ipv6() {
            self.ipv6_processed_bytes.add(bytes);
        }
    }

    /// Rules looked at for one request ("RuleEvaluations"; ten are free of charge).
    pub fn evaluated(&self, rules: u64) {
        if rules > 0 {
            self.rule_evaluations.add(rules);
        }
        if rules > FREE_RULES {
            self.charged_rule_evaluations.add(rules - FREE_RULES);
        }
    }

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
            460 => self.client_left_460.add(1),
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
