//! What a handler may touch: the server, its connection, the time.

use super::{app::App, arguments::Args, session::Session};
use crate::{
    feature::{Entity, Timestamp},
    online::{FieldPlans, PlainHash, Row, Seen},
    store::{Committed, Keyspace, Locked, PlanCache, ReadPlan, Schema},
};
use std::{borrow::Cow, cell::RefCell, sync::Arc};

/// What a handler may touch.
pub(super) struct Context<'a> {
    pub(super) app: &'a Arc<App>,
    /// The keys, alone or as a part of a transaction.
    pub(super) keyspace: Keyspace<'a>,
    pub(super) session: &'a mut Session,
    /// The time of this request.
    pub(super) now: Timestamp,
}

thread_local! {
    /// A core's plans; a connection stays on its core.
    static PLANS: RefCell<PlanCache> = RefCell::default();
    static FIELD_PLANS: RefCell<FieldPlans> = const { RefCell::new(FieldPlans::new()) };
}

impl<'a> Context<'a> {
    /// The state this connection reads. If that is not durable yet, its replies wait.
    pub(super) fn seen(&mut self) -> Seen {
        let seen = self.session.seen();
        self.session.has_read_latest |= seen == Seen::Latest;
        seen
    }

    /// What was decided; the reply waits until it may be acknowledged.
    pub(super) fn committed<T>(&mut self, committed: Committed<T>) -> T {
        self.session.must_wait_for(committed.wait_for);
        committed.value
    }

    /// Calls `read` with the row of a plain key, unless its time is over; counts the read.
    pub(super) fn read_plain<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(Option<Row<'_>>) -> R,
    ) -> R {
        let mut is_there = false;
        let result = self.peek_plain(key, |row| {
            is_there = row.is_some();
            read(row)
        });
        self.session.looked_up(is_there);
        result
    }

    /// The same without counting: where one command looks twice.
    pub(super) fn peek_plain<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(Option<Row<'_>>) -> R,
    ) -> R {
        let (seen, now) = (self.seen(), self.now);
        let is_there = |row: &Row<'_>| row.has_value() && !row.is_expired(now);
        self.keyspace.read(key, seen, |row| read(row.filter(is_there)))
    }

    /// Calls `read` with the rows of keys as they stand at one moment.
    pub(super) fn read_together<'k, R>(
        &mut self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        read: impl FnOnce(&Locked<'_>) -> R,
    ) -> R {
        let seen = self.seen();
        self.keyspace.read_together(keys, seen, self.now, read)
    }

    /// The plan of a list of names; made anew only if this thread has not met it yet.
    pub(super) fn plan<'n>(
        &self,
        schema: &Arc<Schema>,
        entity: &Entity,
        names: impl Iterator<Item = &'n [u8]> + Clone,
    ) -> Arc<ReadPlan> {
        PLANS.with_borrow_mut(|plans| plans.plan(schema, entity, names))
    }

    /// The plan of the names that are left of the arguments, which mostly are a list that was met
    /// before: then they need not be looked at one by one.
    pub(super) fn plan_of_rest(
        &self,
        schema: &Arc<Schema>,
        entity: &Entity,
        args: &Args<'_>,
    ) -> Arc<ReadPlan> {
        let (list, names) = (args.rest_list(), args.rest());
        PLANS.with_borrow_mut(|plans| plans.plan_of_list(schema, entity, list, names))
    }
}

/// Gives the value of each field of `hash` that is left of the arguments.
#[inline]
pub(super) fn get_each_field<'a>(
    hash: PlainHash<'a>,
    args: &Args<'_>,
    give: impl FnMut(Option<&'a [u8]>),
) {
    let (list, names) = (args.rest_list(), args.rest());
    FIELD_PLANS.with_borrow_mut(|plans| hash.get_each(names, list, plans, give));
}

/// Whose key it is: the entity it names, with the one spelling of the key, if it names one.
pub(super) fn entity_of<'s, 'k>(
    schema: &'s Schema,
    key: &'k [u8],
) -> Option<(&'s Arc<Entity>, Cow<'k, [u8]>)> {
    let entity = schema.catalog.entity_of_key(key)?;
    if entity.is_canonical_key(key) {
        return Some((entity, Cow::Borrowed(key)));
    }
    // A key that is none of this entity's, such as text for an integer, finds no row.
    let key = entity.canonical_key(key).map_or(Cow::Borrowed(key), Cow::Owned);
    Some((entity, key))
}
