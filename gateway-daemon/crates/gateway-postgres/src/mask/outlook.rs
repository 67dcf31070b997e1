//! What a policy says about a database: which columns of which relations are sensitive.
mod views;

use super::catalogue::{Catalogue, FIRST_USER_OID};
use super::telling;
use super::ties::{self, Ties};
use crate::interpret::flow::Fields;
use gateway_core::Masks;
use gateway_core::mask::{Mask, Predicates, Sensitive, Treatment};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use views::Readings;

/// The number of a field in an [`Outlook`].
pub(crate) type FieldId = u16;

/// Stands for whatever could be sensitive in what cannot be shown to be clean.
pub(crate) const UNPROVEN: FieldId = 0;
/// Stands for every column, where the catalogue or the table is not known.
pub(crate) const UNKNOWN: FieldId = 1;
/// Stands for what PostgreSQL's own statistics show.
pub(crate) const TELLING_FIELD: FieldId = 2;

/// A sensitive field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// As it is recorded: `public.users.email`.
    pub(crate) name: Arc<str>,
    pub(crate) sensitive: Sensitive,
}

/// What is sensitive about a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// All that could be in it: each of their masks is obeyed. At least one.
    pub(crate) fields: Fields,
    /// It is such a field itself, and not something made of them.
    pub(crate) itself: bool,
}

impl Marked {
    /// Something made of fields.
    pub(super) fn made_of(fields: Fields) -> Marked {
        Marked {
            fields,
            itself: false,
        }
    }
}

/// Columns that were found to be sensitive, by relation and number: they stay so when they are
/// renamed, detached or computed no more.
pub(crate) type Remembered = FxHashMap<(u32, i16), Found>;

/// What a column was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The names of the fields that it is or is made of, each once.
    pub(crate) fields: Vec<Arc<str>>,
    /// It is such a field itself.
    pub(crate) itself: bool,
}

impl Found {
    /// Adds what else it was found to be. What it was first, it stays.
    pub(crate) fn add(&mut self, name: &Arc<str>, itself: bool) {
        if self.fields.is_empty() {
            self.itself = itself;
        }
        if !self.fields.contains(name) {
            self.fields.push(Arc::clone(name));
        }
    }
}

/// The number of the column that says where a row is (`SelfItemPointerAttributeNumber`).
const CTID: i16 = -1;
/// The number of the column that says who has locked a row (`MaxTransactionIdAttributeNumber`).
const XMAX: i16 = -4;

/// What [`TELLING_FIELD`] is called.
const STATISTICS: &str = "statistics";
/// The fields from here on have names of their own.
const NAMED: usize = 3;
/// More fields than this are not told apart; those beyond are covered as unproven.
const FIELDS_MAX: usize = 60_000;

/// What a policy says about a database.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// Unique in this process.
    pub(crate) id: u64,
    /// `None`: it is not known, and everything counts as sensitive.
    pub(crate) catalogue: Option<Arc<Catalogue>>,
    pub(crate) fields: Vec<Field>,
    /// The sensitive columns, by relation.
    marked: FxHashMap<u32, FxHashMap<i16, Marked>>,
    /// What the views do besides returning their columns.
    views: FxHashMap<u32, Doing>,
    /// What it asks about to write to relations.
    ties: FxHashMap<u32, Ties>,
    /// Something is to be covered; otherwise it is only counted.
    pub(crate) covers: bool,
    /// It is what a session sees within a transaction, which may be taken back.
    pub(crate) is_own: bool,
}

fn stand_in(name: &str, covered: bool) -> Field {
    let mask = Mask {
        name: Arc::from("any"),
        // Whether there is a figure at all, tells as much as many a figure.
        with: match name {
            STATISTICS => Treatment::Null,
            _ => Treatment::Redact,
        },
        predicates: Predicates::Deny,
    };
    Field {
        name: Arc::from(name),
        sensitive: Sensitive {
            mask: Arc::new(mask),
            covered,
        },
    }
}

impl Outlook {
    /// Where nothing is known of the database.
    pub(crate) fn blind(id: u64, masks: &dyn Masks) -> Outlook {
        let covers = masks.cover();
        Outlook {
            id,
            catalogue: None,
            fields: ["unproven", "unknown", STATISTICS]
                .map(|name| stand_in(name, covers))
                .into(),
            marked: FxHashMap::default(),
            views: FxHashMap::default(),
            ties: FxHashMap::default(),
            covers,
            is_own: false,
        }
    }

    /// The same, where a name may mean something else by now.
    pub(crate) fn blinded(&self) -> Outlook {
        Outlook {
            id: self.id,
            catalogue: None,
            fields: self.fields.clone(),
            marked: FxHashMap::default(),
            views: FxHashMap::default(),
            ties: FxHashMap::default(),
            covers: self.covers,
            is_own: self.is_own,
        }
    }

    /// Finds the sensitive columns: by their names, and those that were found before.
    pub(crate) fn new(
        id: u64,
        catalogue: Arc<Catalogue>,
        masks: &dyn Masks,
        remembered: &Remembered,
    ) -> Outlook {
        let mut outlook = Outlook::blind(id, masks);
        outlook.catalogue = Some(Arc::clone(&catalogue));
        outlook.mark_by_name(&catalogue, masks, remembered);
        if outlook.covers {
            outlook.mark_telling(&catalogue);
            outlook.mark_unproven(&catalogue);
        }
        let mut readings = Readings::of(&catalogue);
        // Each of these can make the others find more.
        loop {
            let before = outlook.size();
            outlook.mark_generated(&catalogue);
            outlook.mark_relatives(&catalogue);
            outlook.mark_composites(&catalogue);
            outlook.mark_references(&catalogue);
            outlook.mark_places(&catalogue);
            if outlook.size() == before && !outlook.mark_views(&catalogue, &mut readings) {
                outlook.settle_predicates();
                outlook.ties = ties::of(&catalogue, &outlook);
                outlook.mark_holders();
                return outlook;
            }
        }
    }

    fn size(&self) -> usize {
        let columns = self.marked.values().flat_map(FxHashMap::values);
        columns.map(|marked| marked.fields.len()).sum()
    }

    /// What cannot be shown to be clean is asked about as the strictest mask says.
    fn settle_predicates(&mut self) {
        let mut strictest = Predicates::Allow;
        let mut masks: Vec<&str> = Vec::new();
        for field in self.fields.iter().skip(NAMED) {
            let Sensitive { mask, covered } = &field.sensitive;
            if !*covered || masks.contains(&&*mask.name) {
                continue;
            }
            masks.push(&mask.name);
            strictest = strictest.and(&mask.predicates);
        }
        if let Some(field) = self.fields.first_mut() {
            let mask = Mask {
                predicates: strictest,
                ..Mask::clone(&field.sensitive.mask)
            };
            field.sensitive.mask = Arc::new(mask);
        }
    }

    /// Forgets the columns of tables that are gone: for a catalogue that shows all that was committed.
    pub(crate) fn forget_gone(&self, remembered: &mut Remembered) {
        if let Some(catalogue) = &self.catalogue {
            remembered.retain(|(relation, _), _| catalogue.relations.contains_key(relation));
        }
    }

    /// Adds the columns of tables that were found: what a view shows is read from its definition
    /// each time.
    pub(crate) fn add_to(&self, remembered: &mut Remembered) {
        let Some(catalogue) = &self.catalogue else {
            return;
        };
        for (oid, columns) in &self.marked {
            let relation = catalogue.relations.get(oid);
            if *oid < FIRST_USER_OID || relation.is_none_or(|relation| relation.kind == b'v') {
                continue;
            }
            // What is in a materialised view stays there, whatever becomes of what it was made of.
            // Where its definition cannot be read just now, it is not known what it is.
            let keeps = relation
                .is_some_and(|relation| relation.kind == b'm' && relation.definition.is_some());
            for (number, marked) in columns.iter().filter(|(number, _)| **number > 0) {
                let fields = marked.fields.iter();
                let lasting = fields.filter(|field| keeps || usize::from(*field) >= NAMED);
                for field in lasting.filter_map(|field| self.field(field)) {
                    let found = remembered.entry((*oid, *number)).or_default();
                    found.add(&field.name, marked.itself);
                }
            }
        }
    }

    /// What is sensitive about a column of a relation.
    pub(crate) fn marked(&self, relation: u32, column: i16) -> Option<&Marked> {
        self.marked.get(&relation)?.get(&column)
    }

    /// All that is sensitive about a relation.
    pub(crate) fn marks(&self, relation: u32) -> impl Iterator<Item = (i16, &Marked)> + '_ {
        let marks = self.marked.get(&relation).into_iter().flatten();
        marks.map(|(number, marked)| (*number, marked))
    }

    /// All that could be in a row of a relation.
    pub(crate) fn row(&self, relation: u32) -> Fields {
        let mut fields = Fields::default();
        for (_, marked) in self.marks(relation) {
            fields.add(&marked.fields);
        }
        fields
    }

    /// Is the relation one that is known?
    pub(crate) fn knows(&self, relation: u32) -> bool {
        let Some(catalogue) = &self.catalogue else {
            return false;
        };
        relation < FIRST_USER_OID || catalogue.relations.contains_key(&relation)
    }

    /// Does a relation that is known have the column?
    pub(crate) fn has_column(&self, relation: u32, column: i16) -> bool {
        let catalogue = self.catalogue.as_ref();
        let Some(known) = catalogue.and_then(|catalogue| catalogue.relations.get(&relation)) else {
            return relation < FIRST_USER_OID;
        };
        relation < FIRST_USER_OID || known.columns.iter().any(|known| known.number == column)
    }

    /// Is every relation of this name a temporary one of some session?
    pub(crate) fn is_temporary(&self, name: &str) -> bool {
        let Some(catalogue) = &self.catalogue else {
            return false;
        };
        let mut named = catalogue.named("", name).peekable();
        named.peek().is_some() && named.all(|(_, relation)| relation.schema.starts_with("pg_temp_"))
    }

    /// All that is sensitive in the relations of a schema.
    pub(crate) fn in_schema(&self, schema: &str) -> Fields {
        let Some(catalogue) = &self.catalogue else {
            return Fields::one(UNKNOWN);
        };
        let relations = catalogue.relations.iter();
        let own = relations.filter(|(_, relation)| *relation.schema == *schema);
        own.fold(Fields::default(), |all, (oid, _)| all.and(&self.row(*oid)))
    }

    /// Did the relation come with the server?
    pub(crate) fn is_own_relation(&self, schema: &str, name: &str) -> bool {
        // `pg_catalog` is searched first, unless the search path says otherwise.
        let schema = if schema.is_empty() {
            "pg_catalog"
        } else {
            schema
        };
        let catalogue = self.catalogue.as_ref();
        let own = catalogue.and_then(|catalogue| catalogue.own.get(schema));
        own.is_some_and(|own| own.contains(name))
    }

    /// Is something sensitive in a relation of this name, or is none known?
    pub(crate) fn is_sensitive(&self, schema: &str, name: &str) -> bool {
        let named = self.named(schema, name);
        !named.known || named.columns.iter().any(|column| column.marked.is_some())
    }

    pub(crate) fn field(&self, id: FieldId) -> Option<&Field> {
        self.fields.get(usize::from(id))
    }

    /// Is the field to be covered?
    pub(crate) fn is_covered(&self, id: FieldId) -> bool {
        self.field(id).is_none_or(|field| field.sensitive.covered)
    }

    /// True when there is more to it than before. What it was first, the field itself or made of it,
    /// it stays.
    fn mark(&mut self, relation: u32, column: i16, marked: &Marked) -> bool {
        let columns = self.marked.entry(relation).or_default();
        match columns.get_mut(&column) {
            Some(before) => before.fields.add(&marked.fields),
            None => columns.insert(column, marked.clone()).is_none(),
        }
    }

    fn add_field(&mut self, name: &Arc<str>, sensitive: Sensitive) -> FieldId {
        let known = self.fields.iter().position(|field| field.name == *name);
        let index = known.unwrap_or(self.fields.len());
        if known.is_none() {
            if index >= FIELDS_MAX {
                return UNPROVEN;
            }
            self.fields.push(Field {
                name: Arc::clone(name),
                sensitive,
            });
        }
        FieldId::try_from(index).unwrap_or(UNPROVEN)
    }

    fn mark_by_name(&mut self, catalogue: &Catalogue, masks: &dyn Masks, remembered: &Remembered) {
        let mut name = String::new();
        for (oid, relation) in &catalogue.relations {
            for column in &relation.columns {
                name.clear();
                name.extend([&*relation.schema, ".", &*relation.name, ".", &*column.name]);
                let own = masks.field(&name).map(|sensitive| {
                    let name = Arc::from(name.as_str());
                    self.add_field(&name, sensitive)
                });
                if let Some(field) = own {
                    // What is computed, or was, is chosen by who defines it, whatever it is called.
                    let before = remembered.get(&(*oid, column.number));
                    let was_itself = before.is_none_or(|found| found.itself);
                    let marked = Marked {
                        fields: Fields::one(field),
                        itself: !column.generated && was_itself,
                    };
                    self.mark(*oid, column.number, &marked);
                }
                if let Some(found) = remembered.get(&(*oid, column.number)) {
                    let fields = self.fields_of_before(found, own, masks);
                    let itself = found.itself && !column.generated;
                    if !fields.is_empty() {
                        self.mark(*oid, column.number, &Marked { fields, itself });
                    }
                }
            }
        }
    }

    /// What a column was before, besides what it is by its name now: another name of the same mask
    /// says nothing new.
    fn fields_of_before(
        &mut self,
        found: &Found,
        own: Option<FieldId>,
        masks: &dyn Masks,
    ) -> Fields {
        let mut fields = Fields::default();
        for name in &found.fields {
            let Some(before) = self.field_of_before(name, masks) else {
                continue;
            };
            let mask = |field| {
                let known: Option<&Field> = self.field(field);
                known.map(|known| &known.sensitive)
            };
            if own.is_none_or(|own| mask(own) != mask(before)) {
                fields.add(&Fields::one(before));
            }
        }
        fields
    }

    /// A field by the name that it was remembered by.
    fn field_of_before(&mut self, name: &Arc<str>, masks: &dyn Masks) -> Option<FieldId> {
        let mut stand_ins = self.fields.iter().take(NAMED);
        if let Some(index) = stand_ins.position(|field| field.name == *name) {
            return FieldId::try_from(index).ok();
        }
        let sensitive = masks.field(name)?;
        Some(self.add_field(name, sensitive))
    }

    fn mark_telling(&mut self, catalogue: &Catalogue) {
        let marked = Marked::made_of(Fields::one(TELLING_FIELD));
        for (oid, relation) in &catalogue.relations {
            let Some(telling) = telling::columns_of(&relation.name) else {
                continue;
            };
            let columns = relation.columns.iter();
            for column in columns.filter(|column| telling.has(&column.name)) {
                self.mark(*oid, column.number, &marked);
            }
        }
    }

    /// Nobody can say of them that they are sensitive, or that they are not.
    fn mark_unproven(&mut self, catalogue: &Catalogue) {
        let marked = Marked::made_of(Fields::one(UNPROVEN));
        for (relation, column) in catalogue.unnamed.iter().chain(&catalogue.unproven) {
            self.mark(*relation, *column, &marked);
        }
    }

    /// A generated column can be computed from any other of its row.
    fn mark_generated(&mut self, catalogue: &Catalogue) {
        let marked: Vec<u32> = self.marked.keys().copied().collect();
        for oid in marked {
            let Some(relation) = catalogue.relations.get(&oid) else {
                continue;
            };
            let generated = relation.columns.iter().filter(|column| column.generated);
            for column in generated {
                let marked = Marked::made_of(self.row(oid));
                self.mark(oid, column.number, &marked);
            }
        }
    }

    /// Children have the columns of their parents, whose rows are theirs.
    fn mark_relatives(&mut self, catalogue: &Catalogue) {
        for (child, parent) in &catalogue.parents {
            self.mark_same(catalogue, *child, *parent);
            self.mark_same(catalogue, *parent, *child);
        }
    }

    fn mark_same(&mut self, catalogue: &Catalogue, from: u32, to: u32) {
        let marks = self.marks(from);
        let marks: Vec<(i16, Marked)> = marks
            .map(|(number, marked)| (number, marked.clone()))
            .collect();
        for (number, marked) in marks {
            if let Some(same) = catalogue.same_column(from, number, to) {
                self.mark(to, same, &marked);
            }
        }
    }

    /// A foreign key has the values of what it refers to.
    fn mark_references(&mut self, catalogue: &Catalogue) {
        for [(from, column), (to, referenced)] in &catalogue.references {
            if let Some(Marked { fields, .. }) = self.marked(*to, *referenced) {
                let marked = Marked::made_of(fields.clone());
                self.mark(*from, *column, &marked);
            }
        }
    }

    /// Where a row of a materialised view is, tells how long those before it are, which can have been
    /// computed so that it tells what is in a value. In tables there is nothing but the values.
    fn mark_places(&mut self, catalogue: &Catalogue) {
        let views = catalogue.relations.iter();
        let marked = Marked::made_of(Fields::one(TELLING_FIELD));
        for (oid, _) in views.filter(|(_, relation)| relation.kind == b'm') {
            if self.row(*oid).iter().any(|field| self.is_covered(field)) {
                self.mark(*oid, CTID, &marked);
            }
        }
    }

    /// What refers to a row has locked it when it was written.
    fn mark_holders(&mut self) {
        let ties = self.ties.iter();
        let held = ties.filter(|(_, ties)| !ties.deleting.is_empty());
        let holders: Vec<(u32, Marked)> = held
            .map(|(oid, ties)| (*oid, Marked::made_of(ties.deleting.clone())))
            .collect();
        for (oid, marked) in holders {
            self.mark(oid, XMAX, &marked);
        }
    }

    /// A column that holds rows of a relation holds what is sensitive in them.
    fn mark_composites(&mut self, catalogue: &Catalogue) {
        let mut sensitive: FxHashMap<u32, Fields> = FxHashMap::default();
        loop {
            let mut more = false;
            for (oid, parts) in &catalogue.types {
                let mut fields = self.row(parts.relation);
                for inner in [parts.element, parts.base] {
                    fields.add(sensitive.get(&inner).unwrap_or(&Fields::default()));
                }
                if !fields.is_empty() {
                    more |= sensitive.entry(*oid).or_default().add(&fields);
                }
            }
            if !more {
                break;
            }
        }
        if sensitive.is_empty() {
            return;
        }
        for (oid, relation) in &catalogue.relations {
            for column in &relation.columns {
                if let Some(fields) = sensitive.get(&column.type_oid) {
                    let marked = Marked::made_of(fields.clone());
                    self.mark(*oid, column.number, &marked);
                }
            }
        }
    }

    /// The sensitive columns of all relations that a name can mean, and whether any is known.
    pub(crate) fn named(&self, schema: &str, name: &str) -> Named {
        let Some(catalogue) = &self.catalogue else {
            return Named::default();
        };
        let mut named = Named::default();
        for (oid, relation) in catalogue.named(schema, name) {
            named.known = true;
            named.candidates += 1;
            named.runs_code |= relation.runs_code;
            named.calls_when_read |= relation.calls_when_read;
            named.calls_for_columns |= relation.calls_for_columns;
            named.placing |= self.marked(oid, CTID).is_some();
            named.is_view |= !matches!(relation.kind, b'r' | b'p');
            if let Some(doing) = self.views.get(&oid) {
                match relation.kind {
                    b'v' => named.doing.add(*doing),
                    _ => named.refreshing.add(*doing),
                }
            }
            let ties = self.ties.get(&oid);
            if let Some(ties) = ties {
                named.deleting.add(&ties.deleting);
            }
            for column in &relation.columns {
                named.columns.push(NamedColumn {
                    name: column.name.clone(),
                    changing: ties
                        .map(|ties| ties.changing(column.number))
                        .unwrap_or_default(),
                    marked: self.marked(oid, column.number).cloned(),
                    primary: column.primary,
                    not_null: column.not_null,
                    type_oid: column.type_oid,
                });
            }
        }
        named
    }
}

/// What a name in a statement can mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// There is such a relation.
    pub(crate) known: bool,
    /// How many there are.
    pub(crate) candidates: usize,
    /// Changing one runs a trigger or a rule.
    pub(crate) runs_code: bool,
    /// Reading one can call somebody's function.
    pub(crate) calls_when_read: bool,
    /// Defaults or computed columns of one call such.
    pub(crate) calls_for_columns: bool,
    /// One is no table that has rows of its own.
    pub(crate) is_view: bool,
    /// Where the rows of one are tells what is in them.
    pub(crate) placing: bool,
    /// What views do that the name can mean.
    pub(crate) doing: Doing,
    /// What it does to refresh materialised views.
    pub(crate) refreshing: Doing,
    /// What it asks about to delete a row of one.
    pub(crate) deleting: Fields,
    /// The columns of all of them, in their order where there is one.
    pub(crate) columns: Vec<NamedColumn>,
}

/// A column of what a name can mean.
#[derive(Clone, Debug)]
pub(crate) struct NamedColumn {
    pub(crate) name: Box<str>,
    pub(crate) marked: Option<Marked>,
    /// What it asks about to change it.
    pub(crate) changing: Fields,
    /// It is in the primary key.
    pub(crate) primary: bool,
    pub(crate) not_null: bool,
    pub(crate) type_oid: u32,
}

/// What a query does besides returning its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doing {
    /// It has to do with something sensitive, if only to find its rows: its errors can quote that.
    pub(crate) touches: bool,
    /// It calls what is not known.
    pub(crate) calls: bool,
    /// It reads PostgreSQL's own catalogues, as a view over which they could be changed.
    pub(crate) reads_catalogues: bool,
}

impl Doing {
    fn add(&mut self, other: Doing) {
        self.touches |= other.touches;
        self.calls |= other.calls;
        self.reads_catalogues |= other.reads_catalogues;
    }

    /// How much that is.
    fn extent(self) -> usize {
        let parts = [self.touches, self.calls, self.reads_catalogues];
        parts.iter().filter(|part| **part).count()
    }

    /// Of a query that cannot be read.
    const ANYTHING: Doing = Doing {
        touches: true,
        calls: true,
        reads_catalogues: true,
    };
}
