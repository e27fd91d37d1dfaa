//! What a subscription holds: unsettled deliveries, orders not carried out yet, events the subscriber has not taken yet.
//! Pure: it must not know how a turn is taken, nor when.

use std::collections::{HashMap, VecDeque};

use super::turn::{Order, Turned};
use crate::broker::{Command, Delivery, DeliveryTag, Event, Settlement};

/// What one turn claims at most, so that several processes share a queue evenly.
const CLAIM_LIMIT: usize = 100;

pub struct Hold {
    /// How many deliveries were asked for at a time, and in all.
    page: usize,
    prefetch: usize,
    session: Option<u64>,
    /// The row of each delivery that is neither settled nor ordered to be.
    rows: HashMap<u64, i64>,
    next_number: u64,
    orders: Vec<Order>,
    /// At most a delivery and a settled delivery for each of the prefetch, and one loss.
    events: VecDeque<Event>,
    stopped: bool,
}

impl Hold {
    pub fn new(prefetch: usize) -> Self {
        let (rows, orders, events) = (HashMap::new(), Vec::new(), VecDeque::new());
        Self { page: prefetch, prefetch, session: None, rows, next_number: 1, orders, events, stopped: false }
    }

    pub fn take(&mut self, command: Command) {
        match command {
            Command::StopDeliveries => self.stopped = true,
            Command::TakeMore => self.prefetch = self.prefetch.saturating_add(self.page),
            Command::Settle(settlement) => self.order(settlement),
        }
    }

    fn order(&mut self, settlement: Settlement) {
        let (Settlement::Finish { tag, .. } | Settlement::GiveBack { tag }) = &settlement;
        let held = if self.session == Some(tag.session) { self.rows.remove(&tag.number) } else { None };
        match held {
            Some(id) => self.orders.push(Order { id, settlement }),
            None => tracing::debug!(?tag, "a settlement of a delivery that is not held does nothing"),
        }
    }

    /// How many messages the next turn may claim. Its orders are carried out first.
    pub fn claimable(&self) -> usize {
        if self.stopped { 0 } else { self.prefetch.saturating_sub(self.rows.len()).min(CLAIM_LIMIT) }
    }

    pub fn session(&self) -> Option<u64> {
        self.session
    }

    pub fn holds_deliveries(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Unsettled deliveries, and those whose settlement is not carried out yet.
    pub fn count(&self) -> usize {
        self.rows.len() + self.orders.len()
    }

    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Orders that a failed turn did not carry out.
    pub fn keep_orders(&mut self, orders: Vec<Order>) {
        self.orders = orders;
    }

    /// Takes in what a turn did.
    pub fn turned(&mut self, turned: Turned) {
        self.events.extend(turned.finished.into_iter().map(Event::Settled));
        if turned.lost {
            self.lose();
        }
        self.session = turned.session;
        for one in turned.claimed {
            let session = self.session.unwrap_or_default();
            let tag = DeliveryTag { session, number: self.next_number };
            self.next_number += 1;
            self.rows.insert(tag.number, one.id);
            self.events.push_back(Event::Delivery(Delivery {
                tag,
                message: one.message,
                redelivered: one.earlier_deliveries > 0,
                earlier_deliveries: one.earlier_deliveries,
            }));
        }
    }

    fn lose(&mut self) {
        self.drop_deliveries();
        self.rows.clear();
        self.prefetch = self.page;
        if let Some(session) = self.session {
            let reason = "its lease ran out before it was renewed, or a message it held was taken away".to_owned();
            self.events.push_back(Event::SessionLost { session, reason });
        }
    }

    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Forgets the deliveries that the subscriber has not taken.
    pub fn drop_deliveries(&mut self) {
        self.events.retain(|event| !matches!(event, Event::Delivery(_)));
    }
}
