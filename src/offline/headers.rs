//! The fields of the structs that Parquet keeps in Thrift, and their types.
//!
//! From <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use super::thrift::{
    Fields,
    Kind::{self, Bool, Byte, Bytes, Double, Integer, List, Schema, Struct},
};

const EMPTY: Kind = Struct(&[]);

/// `FileMetaData`.
pub(super) const FOOTER: Fields = &[
    (1, Integer),
    (2, Schema(SCHEMA_ELEMENT)),
    (3, Integer),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))),
];

const KEY_VALUE: Kind = Struct(&[(1, Bytes), (2, Bytes)]);

const SCHEMA_ELEMENT: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Struct(LOGICAL_TYPE)),
];

const LOGICAL_TYPE: Fields = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, Integer), (2, Integer)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Integer)])),
    (19, EMPTY),
];

const TIME: Kind = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);

const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Struct(&[(1, Integer), (2, Bool), (3, Bool)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];

const COLUMN_CHUNK: Fields = &[
    (1, Bytes),
    (2, Integer),
    (3, Struct(COLUMN_META_DATA)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];

const COLUMN_META_DATA: Fields = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&KEY_VALUE)),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Struct(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Struct(&[(1, BOUNDING_BOX), (2, List(&Integer))])),
];

const STATISTICS: Kind = Struct(&[
    (1, Bytes),
    (2, Bytes),
    (3, Integer),
    (4, Integer),
    (5, Bytes),
    (6, Bytes),
    (7, Bool),
    (8, Bool),
    (9, Integer),
]);

const BOUNDING_BOX: Kind = Struct(&[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
]);

/// `PageHeader`.
pub(super) const PAGE_HEADER: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Struct(DATA_PAGE_HEADER)),
    (6, EMPTY),
    (7, Struct(DICTIONARY_PAGE_HEADER)),
    (8, Struct(DATA_PAGE_HEADER_V2)),
];

/// `DataPageHeader`.
pub(super) const DATA_PAGE_HEADER: Fields =
    &[(1, Integer), (2, Integer), (3, Integer), (4, Integer), (5, STATISTICS)];

/// `DictionaryPageHeader`.
pub(super) const DICTIONARY_PAGE_HEADER: Fields = &[(1, Integer), (2, Integer), (3, Bool)];

/// `DataPageHeaderV2`.
pub(super) const DATA_PAGE_HEADER_V2: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Bool),
    (8, STATISTICS),
];

/// `OffsetIndex`.
pub(super) const OFFSET_INDEX: Fields =
    &[(1, List(&Struct(&[(1, Integer), (2, Integer), (3, Integer)]))), (2, List(&Integer))];

/// `ColumnIndex`.
pub(super) const COLUMN_INDEX: Fields = &[
    (1, List(&Bool)),
    (2, List(&Bytes)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, List(&Integer)),
    (6, List(&Integer)),
    (7, List(&Integer)),
    (8, List(&Integer)),
];

/// `BloomFilterHeader`.
pub(super) const BLOOM_FILTER_HEADER: Fields = &[
    (1, Integer),
    (2, Struct(&[(1, EMPTY)])),
    (3, Struct(&[(1, EMPTY)])),
    (4, Struct(&[(1, EMPTY)])),
];
