//! FS.GET, FS.SET and FS.LOAD: features of many entities at once, typed and with their times.

use super::{
    arguments::{Args, syntax},
    context::Context,
    feature_arrow::{TableOptions, write_arrow},
    feature_request::{FeatureRequest, online_rows, too_long},
    feature_vector::write_vector,
    request_cache::{RequestCache, Resolved},
    request_rows::Rows,
    session::Session,
    typed_value::{doubles, write_standing, write_value},
};
use crate::{
    error::{Error, Result, did_you_mean, echo},
    feature::{CellWrite, KeyPart, Scalar, Status, Timestamp, View},
    registry::Selected,
    store::{Answer, FeatureRow, Schema, WriteCount},
};
use nowthen_protocol::Reply;
use std::{cell::RefCell, sync::Arc};

/// So many rows one FS.GET may ask for.
const ROWS_MAX: usize = 100_000;

/// What stands in `FS.GET` and `FS.ASOF` before everything else: `SERVICE name` or
/// `FEATURES n f ...`.
pub(super) fn selection(schema: &Schema, args: &mut Args<'_>) -> Result<Vec<Selected>> {
    if args.take_word("SERVICE") {
        return schema.catalog.select_service(args.text("service")?);
    }
    if !args.take_word("FEATURES") {
        return Err(Error::refused("expected SERVICE name or FEATURES n feature ... first"));
    }
    let names = args.counted("features")?;
    let text = |name| {
        std::str::from_utf8(name).map_err(|_| Error::refused("a feature's name is not UTF-8"))
    };
    let names = names.into_iter().map(text).collect::<Result<Vec<_>>>()?;
    schema.catalog.select(&names)
}

thread_local! {
    /// A core's requests; a connection stays on its core.
    static REQUESTS: RefCell<RequestCache> = RefCell::default();
}

/// What FS.GET asks for: everything before `ROWS`.
fn resolve(schema: &Schema, args: &mut Args<'_>) -> Result<Resolved> {
    let features = selection(schema, args)?;
    if !args.take_word("FOR") {
        return Err(Error::refused("expected FOR k join_key ... after the features"));
    }
    let join_keys = args.counted("join keys")?;
    let join_keys = join_keys.into_iter().map(|name| {
        std::str::from_utf8(name).map_err(|_| Error::refused("a join key's name is not UTF-8"))
    });
    let join_keys = join_keys.collect::<Result<Vec<_>>>()?;
    let request = FeatureRequest::new(schema, features, &join_keys)?;
    Ok(Resolved::new(request, join_keys.into_iter().map(str::to_owned).collect()))
}

#[derive(Debug, Default)]
struct Shape {
    at: Option<Timestamp>,
    with_status: bool,
    with_time: bool,
    form: Form,
}

impl Shape {
    /// How many elements a cell has besides its value.
    fn extra(&self) -> usize {
        usize::from(self.with_status) + usize::from(self.with_time)
    }
}

/// What the reply is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// An array per row.
    #[default]
    Values,
    /// One matrix of numbers.
    Vector,
    /// An Arrow IPC stream.
    Arrow,
}

/// `FS.GET {SERVICE name | FEATURES n f ...} FOR k join_key ... ROWS m value ... [AT t]
/// [WITHSTATUS] [WITHTIME] [AS VALUES|VECTOR|ARROW]`: an array per row, a cell per feature in the
/// order asked; with a status or a time a cell is an array `[value, status, event time in µs]`.
/// As a vector one bulk string, the frame of `protocol/src/vector.rs`; as Arrow an IPC stream.
pub(super) fn get(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let asked = REQUESTS.with_borrow_mut(|known| known.resolve(&schema, args, resolve))?;
    let Resolved { request, join_keys, .. } = &*asked;
    let rows = Rows::parse(args, join_keys.len(), ROWS_MAX)?;
    let shape = shape(args)?;
    request.check_size(rows.len())?;
    if shape.at.is_some() || shape.form == Form::Arrow {
        request.check_columns(rows.len())?;
    }
    match shape.form {
        Form::Values => {}
        Form::Vector => return write_vector(ctx, &schema, &asked, &rows, shape.at, reply),
        Form::Arrow => {
            let Shape { at, with_status, with_time, .. } = shape;
            let options = TableOptions { at, with_status, with_time };
            let join_keys: Vec<&str> = join_keys.iter().map(String::as_str).collect();
            return write_arrow(ctx, &schema, request, &join_keys, &rows, options, reply);
        }
    }
    let answers = match shape.at {
        Some(at) => request.rows_at(&ctx.app.store, &schema, &rows, at)?,
        None if request.is_by_entity() => {
            return write_rows(ctx, request, &rows, &shape, reply);
        }
        None => {
            let bytes_max = ctx.app.settings.reply_bytes_max.bytes();
            online_rows(ctx.keyspace, request, rows.iter(), (ctx.now, ctx.seen()), bytes_max)?
        }
    };
    reply.array(answers.len());
    for row in &answers {
        reply.array(row.len());
        row.iter().for_each(|answer| write_answer(answer, &shape, reply));
    }
    Ok(())
}

fn shape(args: &mut Args<'_>) -> Result<Shape> {
    let mut shape = Shape::default();
    while !args.is_empty() {
        if args.take_word("AT") {
            shape.at = Some(args.time()?);
        } else if args.take_word("WITHSTATUS") {
            shape.with_status = true;
        } else if args.take_word("WITHTIME") {
            shape.with_time = true;
        } else if args.take_word("AS") {
            shape.form = form(args)?;
        } else {
            return Err(syntax());
        }
    }
    if shape.form == Form::Vector && shape.with_time {
        return Err(Error::refused(
            "WITHTIME: a vector has no room for times; ask AS VALUES or AS ARROW",
        ));
    }
    Ok(shape)
}

fn form(args: &mut Args<'_>) -> Result<Form> {
    let forms = [("VALUES", Form::Values), ("VECTOR", Form::Vector), ("ARROW", Form::Arrow)];
    let form = forms.into_iter().find(|(word, _)| args.take_word(word));
    let names = "expected AS VALUES, AS VECTOR or AS ARROW";
    form.map(|(_, form)| form).ok_or_else(|| Error::refused(names))
}

/// Writes rows as of now straight into the reply, which is taken back if one of them cannot be
/// read, or if they become longer than a reply may be.
fn write_rows(
    ctx: &mut Context<'_>,
    request: &FeatureRequest,
    rows: &Rows<'_>,
    shape: &Shape,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let bytes_max = ctx.app.settings.reply_bytes_max.bytes();
    let (seen, now) = (ctx.seen(), ctx.now);
    let Session { scratch, key, .. } = &mut *ctx.session;
    let (start, mut is_too_long) = (reply.len(), false);
    let mut fetched = 0;
    reply.array(rows.len());
    for (index, row) in rows.iter().enumerate() {
        if index == fetched {
            fetched += request.fetch(ctx.keyspace, rows.iter_from(index), key);
        }
        reply.array(request.features.len());
        let when = (now, seen);
        let written = request.read_stretches(ctx.keyspace, row, when, key, |mut stretch| {
            let floats = (shape.extra() == 0).then(|| stretch.floats(Scalar::Float64)).flatten();
            if let Some((_, pieces)) = floats {
                return doubles(pieces).for_each(|number| {
                    is_too_long |= reply.len() - start > bytes_max;
                    if !is_too_long {
                        reply.double(number);
                    }
                });
            }
            stretch.read_each(|_, read| {
                is_too_long |= reply.len() - start > bytes_max;
                if !is_too_long {
                    write_cell(read.status, read.event, shape, reply, |reply| match read.value {
                        Some(value) => write_standing(value, scratch, reply),
                        None => reply.null(),
                    });
                }
            });
        });
        if let Some(error) = written.err().or_else(|| is_too_long.then(too_long)) {
            reply.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

fn write_answer(answer: &Answer, shape: &Shape, reply: &mut Reply<'_>) {
    write_cell(answer.status, answer.event, shape, reply, |reply| {
        write_value(answer.value.as_ref(), reply);
    });
}

#[inline]
fn write_cell(
    status: Status,
    event: Option<Timestamp>,
    shape: &Shape,
    reply: &mut Reply<'_>,
    value: impl FnOnce(&mut Reply<'_>),
) {
    if shape.extra() > 0 {
        reply.array(1 + shape.extra());
    }
    value(reply);
    if shape.with_status {
        reply.bulk_text(status.name());
    }
    if shape.with_time {
        match event {
            Some(event) => reply.integer(event.us()),
            None => reply.null(),
        }
    }
}

/// `FS.SET view EVENT t|NOW ROWS m FEATURES n f ...` and m rows of join keys and values: an array
/// of how many rows were applied and how many were late.
pub(super) fn set(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let name = args.text("view")?;
    let view = schema.catalog.view(name).ok_or_else(|| schema.catalog.unknown_view(name))?;
    if !args.take_word("EVENT") {
        return Err(Error::refused("expected EVENT t or EVENT NOW after the view"));
    }
    let event = if args.take_word("NOW") { ctx.now } else { args.time()? };
    let rows = push_rows(&schema, view, event, args)?;
    let committed = ctx.keyspace.push_rows(&schema, view, rows)?;
    write_count(ctx.committed(committed), reply);
    Ok(())
}

/// `FS.LOAD view arrow-ipc-stream`: the same with the rows of a table, which has a column per join
/// key, one of event timestamps, and one per feature that is written.
pub(super) fn load(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let name = args.text("view")?;
    let view = schema.catalog.view(name).ok_or_else(|| schema.catalog.unknown_view(name))?;
    let committed = ctx.app.store.load(&schema, view, args.next()?)?;
    write_count(ctx.committed(committed), reply);
    Ok(())
}

fn write_count(count: WriteCount, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.integer(count.applied as i64);
    reply.integer(count.late as i64);
}

fn push_rows(
    schema: &Schema,
    view: &Arc<View>,
    event: Timestamp,
    args: &mut Args<'_>,
) -> Result<Vec<FeatureRow>> {
    let entity = schema.catalog.entity_by_id(view.entity);
    let entity = entity.ok_or_else(|| Error::refused("a view of no entity"))?;
    if !args.take_word("ROWS") {
        return Err(Error::refused("expected ROWS m after the event timestamp"));
    }
    let count = args.integer()?;
    if !args.take_word("FEATURES") {
        return Err(Error::refused("expected FEATURES n feature ... after the number of rows"));
    }
    let names = args.counted("features")?;
    let mut cells = Vec::with_capacity(names.len());
    for name in names {
        let feature = view.features.iter().find(|feature| feature.name.as_bytes() == name);
        let cell = feature.and_then(|feature| schema.plan_cell(view, feature.slot));
        let cell = cell.ok_or_else(|| unknown_feature_of(view, name))?;
        if cells.iter().any(|other: &crate::store::PlanCell| other.feature == cell.feature) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(Error::refused(format!("feature {name} is named twice")));
        }
        cells.push(cell);
    }
    let width = entity.join_keys.len() + cells.len();
    let is_whole = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
    if count < 1 || is_whole != Some(args.len()) {
        return Err(Error::refused(format!(
            "{count} rows of {} join keys and {} features are not the {} values that follow",
            entity.join_keys.len(),
            cells.len(),
            args.len()
        )));
    }
    let row = |_| {
        let parts = entity.join_keys.iter().map(|join_key| KeyPart::parse(args.next()?, join_key));
        let key = entity.key(&parts.collect::<Result<Vec<_>>>()?);
        let mut written = Vec::with_capacity(cells.len());
        for cell in &cells {
            written.push((cell.feature_slot(), CellWrite::Value(cell.parse(args.next()?)?)));
        }
        written.sort_unstable_by_key(|(slot, _)| *slot);
        Ok(FeatureRow { key, event, created: None, cells: written })
    };
    (0..count).map(row).collect()
}

fn unknown_feature_of(view: &View, name: &[u8]) -> Error {
    let text = String::from_utf8_lossy(name);
    let names = view.features.iter().map(|feature| feature.name.as_str());
    let near = did_you_mean(&text, names);
    Error::refused(format!("view {} has no feature {}{near}", view.name, echo(name)))
}
