//! What was pushed and stands in the log alone, behind the files of the history.
//!
//! ```text
//! log behind the files   │ a │ ─ │ a │ ─ │ a │ not known yet    a: may tell of the entity
//! what it was at t         2       1       -   ├───────────>     in the order of the latest event
//! its first rows           1       2       3   ├───────────>     in the order of the earliest
//! ```
//! Of few entities only those stretches are read that may tell of them (`log_tail.rs`), as long as
//! one can still change the answer, and what nobody has read yet.

use super::{
    engine::Store,
    history::Opened,
    log_tail::{Events, Stretch, Stretches, Whose},
    pushed_files::{Asked, AskedRows, Wanted},
};
use crate::{
    error::Result,
    feature::{Change, KeyPart, Origin, Timestamp, decode_record},
    log::Lsn,
    offline::{PushedCells, Window},
};
use memchr::memmem::Finder;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    sync::Arc,
};

impl Store {
    /// Hands all that was pushed from record `from` on to `take`, as far as it is asked for.
    pub(super) fn pushed_to_log(
        &self,
        from: Lsn,
        opened: &[Opened],
        wanted: &Wanted<'_>,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        for record in self.log.read(from)? {
            let (lsn, bytes) = record?;
            self.each_cells(opened, wanted, (lsn, &bytes), &mut *take)?;
        }
        Ok(())
    }

    /// The same for few keys: hands over what is asked for of each, and maybe more; what stands in
    /// one record in its order, and records in any.
    pub(super) fn sought_in_log(
        &self,
        from: Lsn,
        opened: &[Opened],
        asked: &Asked<'_>,
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        let mut search = Search::new(self, opened, asked);
        let tells = |stretch: &Stretch| search.tells(stretch, |_| true);
        let (telling, reached) = self.log_tail.telling(from, tells);
        let mut stretches = Stretches::new(reached.next());
        for record in self.log.read(reached.next())? {
            let (lsn, bytes) = record?;
            stretches.add(lsn, &bytes).map_err(|why| self.undecodable(lsn, &why))?;
            search.look_at(lsn, &bytes, hides, take)?;
        }
        self.log_tail.add(&stretches.into_made());
        search.look_at_stretches(from, telling, hides, take)
    }

    /// Calls `give` with each push in a record that is asked for.
    fn each_cells<'o>(
        &self,
        opened: &'o [Opened],
        wanted: &Wanted<'_>,
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
                if wanted.is_for(view.place, &key) {
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
        Self { store, opened, asked, finders, sought }
    }

    /// Looks for the keys in a record.
    fn look_at(
        &mut self,
        lsn: Lsn,
        bytes: &[u8],
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        if !self.finders.iter().any(|finder| finder.find(bytes).is_some()) {
            return Ok(());
        }
        let window = self.asked.rows.window();
        let Self { store, opened, asked, sought, .. } = self;
        store.each_cells(opened, &Wanted::Keys(**asked), (lsn, bytes), |view, cells| {
            if !window.holds(cells.stamp.event) || hides(view, &cells) {
                return Ok(());
            }
            sought.iter_mut().for_each(|sought| sought.note(view, &cells));
            take(view, cells)
        })
    }

    /// Looks for the keys in the stretches that may tell of them, as long as that could be an
    /// answer.
    fn look_at_stretches(
        &mut self,
        from: Lsn,
        mut telling: Vec<(Arc<Stretch>, Events)>,
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        // First where the answer is likely. Whatever comes behind a stretch in these orders tells
        // of nothing later, or earlier, than that one.
        match self.asked.rows {
            AskedRows::At(at) => {
                telling.sort_by_key(|(_, events)| Reverse((events.last.min(at), events.first)));
            }
            AskedRows::Earliest(Window { from, .. }, _) => {
                telling.sort_by_key(|(_, events)| (from.max(Some(events.first)), events.last));
            }
        }
        let (mut rest, mut count) = (telling.as_slice(), 1);
        while let Some((_, events)) = rest.first() {
            if self.sought.iter().all(|sought| sought.is_settled(*events)) {
                break;
            }
            // More and more at a time: if there is no end to it, they are read as they stand in the
            // log, where a frame may have a part of several.
            let (these, behind) = rest.split_at(count.min(rest.len()));
            for (first, last) in self.ranges(these) {
                for record in self.store.log.read(first.max(from))? {
                    let (lsn, bytes) = record?;
                    if lsn > last {
                        break;
                    }
                    self.look_at(lsn, &bytes, hides, take)?;
                }
            }
            (rest, count) = (behind, count * 2);
        }
        Ok(())
    }

    /// The first and the last LSN of what must be read of some stretches, those side by side
    /// together.
    fn ranges(&self, stretches: &[(Arc<Stretch>, Events)]) -> Vec<(Lsn, Lsn)> {
        let is_open = |(stretch, events): &&(Arc<Stretch>, Events)| {
            self.tells(stretch, |sought| !sought.is_settled(*events)).is_some()
        };
        let open = stretches.iter().filter(is_open);
        let mut open: Vec<_> = open.map(|(stretch, _)| (stretch.first, stretch.last)).collect();
        open.sort_unstable();
        let mut ranges: Vec<(Lsn, Lsn)> = Vec::new();
        for (first, last) in open {
            match ranges.last_mut().filter(|(_, before)| before.next() == first) {
                Some((_, end)) => *end = last,
                None => ranges.push((first, last)),
            }
        }
        ranges
    }

    /// When all happened that a stretch may tell of those of whom `is_asked` says so.
    fn tells(&self, stretch: &Stretch, is_asked: impl Fn(&Sought<'_>) -> bool) -> Option<Events> {
        let window = self.asked.rows.window();
        let asked = self.sought.iter().filter(|sought| is_asked(sought));
        asked.filter_map(|sought| stretch.tells(&sought.whose, &window)).reduce(Events::and)
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

    /// Whether nothing that happened no later than `events`, or no earlier, can be an answer beside
    /// what was found. Of equal times any may win.
    fn is_settled(&self, events: Events) -> bool {
        match &self.events {
            FoundEvents::Newest(slots) => slots.iter().all(|(_, found)| *found > Some(events.last)),
            FoundEvents::Earliest(found, rows_max) => {
                found.len() >= *rows_max && found.peek().is_none_or(|last| *last < events.first)
            }
        }
    }
}
