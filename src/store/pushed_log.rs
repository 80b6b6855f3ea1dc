//! What was pushed and stands in the log alone, behind the files of the history.
//!
//! ```text
//! log behind the files   │ ─ │ a │ ─ │ a │ ─ │ a │ not known yet    a: may tell of the entity
//! what it was at t                       <───────┤───────────>       until no other can be newer
//! its first rows             ├───────>           ├───────────>       until no other comes before
//! ```
//! Of few entities only those stretches are read that may tell of them (`log_tail.rs`), from the
//! end that the answer is likely at, and what nobody has read yet.

use super::{
    engine::Store,
    history::Opened,
    log_tail::{Events, Stretch, Stretches, Whose},
    pushed_files::{Asked, AskedRows},
};
use crate::{
    error::Result,
    feature::{Change, KeyPart, Origin, Timestamp, decode_record},
    log::Lsn,
    offline::{PushedCells, Window},
};
use memchr::memmem::Finder;
use std::{
    collections::{BTreeSet, BinaryHeap},
    sync::Arc,
};

impl Store {
    /// Hands all that was pushed from record `from` on to `take`, as far as it is asked for.
    pub(super) fn pushed_to_log(
        &self,
        from: Lsn,
        opened: &[Opened],
        asked: Option<&Asked<'_>>,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        for record in self.log.read(from)? {
            let (lsn, bytes) = record?;
            self.each_cells(opened, asked, (lsn, &bytes), &mut *take)?;
        }
        Ok(())
    }

    /// The same for few keys: hands over what is asked for of each, and maybe more, in the order of
    /// arrival.
    pub(super) fn sought_in_log(
        &self,
        from: Lsn,
        opened: &[Opened],
        asked: &Asked<'_>,
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        let mut search = Search::new(self, opened, asked);
        let window = asked.rows.window();
        let may_tell = |stretch: &Stretch| search.sought.iter().any(|it| it.is_in(stretch));
        let (telling, reached) = self.log_tail.telling(from, &window, may_tell);
        let mut stretches = Stretches::new(reached.next());
        for record in self.log.read(reached.next())? {
            let (lsn, bytes) = record?;
            stretches.add(lsn, &bytes).map_err(|why| self.undecodable(lsn, &why))?;
            search.look_at(lsn, &bytes, hides)?;
        }
        self.log_tail.add(from, &stretches.into_made());
        search.look_at_stretches(from, telling, hides)?;
        search.found.sort_by_key(|(_, cells)| cells.order);
        search.found.into_iter().try_for_each(|(view, cells)| take(view, cells))
    }

    /// Calls `give` with each push in a record that is asked for.
    fn each_cells<'o>(
        &self,
        opened: &'o [Opened],
        asked: Option<&Asked<'_>>,
        (lsn, bytes): (Lsn, &[u8]),
        mut give: impl FnMut(&'o Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        let record = decode_record(bytes).map_err(|why| self.undecodable(lsn, &why))?;
        for change in record.changes {
            let Change::Cells(write) = change else { continue };
            let same =
                |o: &&Opened| (o.view.id, o.view.generation) == (write.view, write.generation);
            // Several versions of a view may have one generation.
            let is_pushed = write.origin == Origin::Pushed;
            for view in opened.iter().filter(same).filter(|_| is_pushed) {
                let key = view.entity.parts(&write.key)?;
                if asked.is_none_or(|asked| asked.keys.contains(&key)) {
                    let (stamp, order) = (write.stamp, lsn.0);
                    let cells = write.cells.clone();
                    give(view, PushedCells { key, stamp, order, cells })?;
                }
            }
        }
        Ok(())
    }
}

impl AskedRows {
    fn window(self) -> Window {
        match self {
            Self::At(at) => Window { from: None, to: at },
            Self::Earliest(window, _) => window,
        }
    }
}

/// A search for few keys.
struct Search<'a> {
    store: &'a Store,
    opened: &'a [Opened],
    asked: &'a Asked<'a>,
    /// They find the keys in a record before it is decoded.
    finders: Vec<Finder<'static>>,
    sought: Vec<Sought<'a>>,
    found: Vec<(&'a Opened, PushedCells)>,
}

/// An entity in a view, and when what was found of it happened.
struct Sought<'a> {
    view: &'a Opened,
    key: &'a [KeyPart],
    whose: Whose,
    events: FoundEvents,
}

enum FoundEvents {
    /// The latest of each slot.
    Newest(Vec<(u32, Option<Timestamp>)>),
    /// Of all rows the earliest, no more than so many.
    Earliest(BinaryHeap<Timestamp>, usize),
}

impl<'a> Search<'a> {
    fn new(store: &'a Store, opened: &'a [Opened], asked: &'a Asked<'a>) -> Self {
        let entities = opened.iter().flat_map(|view| asked.keys.iter().map(move |key| (view, key)));
        let sought: Vec<_> =
            entities.map(|(view, key)| Sought::new(view, key, asked.rows)).collect();
        let keys = sought.iter().map(|sought| sought.view.entity.key(sought.key));
        let keys: BTreeSet<Vec<u8>> = keys.collect();
        let finders = keys.iter().map(|key| Finder::new(key).into_owned()).collect();
        Self { store, opened, asked, finders, sought, found: Vec::new() }
    }

    /// Looks for the keys in a record.
    fn look_at(
        &mut self,
        lsn: Lsn,
        bytes: &[u8],
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
    ) -> Result<()> {
        if !self.finders.iter().any(|finder| finder.find(bytes).is_some()) {
            return Ok(());
        }
        let window = self.asked.rows.window();
        let Self { store, opened, asked, sought, found, .. } = self;
        store.each_cells(opened, Some(asked), (lsn, bytes), |view, cells| {
            if window.holds(cells.stamp.event) && !hides(view, &cells) {
                sought.iter_mut().for_each(|sought| sought.note(view, &cells));
                found.push((view, cells));
            }
            Ok(())
        })
    }

    /// Looks for the keys in the stretches that may tell of them, as long as that could be an
    /// answer.
    fn look_at_stretches(
        &mut self,
        from: Lsn,
        mut telling: Vec<Arc<Stretch>>,
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
    ) -> Result<()> {
        // From the end that the answer is likely at.
        if let AskedRows::At(_) = self.asked.rows {
            telling.reverse();
        }
        // When all happened that a stretch and those behind it in this order tell of.
        let mut rest: Option<Events> = None;
        let mut rests: Vec<_> = { telling.iter().rev() }
            .filter_map(|stretch| {
                let own = stretch.events()?;
                Some((stretch, *rest.insert(rest.map_or(own, |rest| rest.and(own)))))
            })
            .collect();
        while let Some((stretch, rest)) = rests.pop() {
            let mut open = self.sought.iter().filter(|sought| !sought.is_settled(rest)).peekable();
            if open.peek().is_none() {
                break;
            }
            if !open.any(|sought| sought.is_in(stretch)) {
                continue;
            }
            for record in self.store.log.read(stretch.first.max(from))? {
                let (lsn, bytes) = record?;
                if lsn > stretch.last {
                    break;
                }
                self.look_at(lsn, &bytes, hides)?;
            }
        }
        Ok(())
    }
}

impl<'a> Sought<'a> {
    fn new(view: &'a Opened, key: &'a [KeyPart], rows: AskedRows) -> Self {
        let events = match rows {
            AskedRows::At(_) => {
                FoundEvents::Newest(view.slots().map(|slot| (slot, None)).collect())
            }
            AskedRows::Earliest(_, rows_max) => FoundEvents::Earliest(BinaryHeap::new(), rows_max),
        };
        let whose = Whose::new(view.view.id, &view.entity.key(key));
        Self { view, key, whose, events }
    }

    fn is_in(&self, stretch: &Stretch) -> bool {
        stretch.may_tell(&self.whose)
    }

    fn note(&mut self, view: &Opened, cells: &PushedCells) {
        if !std::ptr::eq(self.view, view) || self.key != cells.key {
            return;
        }
        let event = cells.stamp.event;
        let writes = |slot: u32| cells.cells.iter().any(|(written, _)| *written == slot);
        match &mut self.events {
            FoundEvents::Newest(slots) => {
                for (_, latest) in slots.iter_mut().filter(|(slot, _)| writes(*slot)) {
                    *latest = (*latest).max(Some(event));
                }
            }
            FoundEvents::Earliest(events, rows_max) => {
                if self.view.slots().any(writes) {
                    events.push(event);
                }
                if events.len() > *rows_max {
                    events.pop();
                }
            }
        }
    }

    /// Whether nothing that happened at `rest` can be an answer beside what was found. Of equal
    /// times any may win.
    fn is_settled(&self, rest: Events) -> bool {
        match &self.events {
            FoundEvents::Newest(slots) => slots.iter().all(|(_, latest)| *latest > Some(rest.last)),
            FoundEvents::Earliest(events, rows_max) => {
                events.len() >= *rows_max && events.peek().is_none_or(|last| *last < rest.first)
            }
        }
    }
}
