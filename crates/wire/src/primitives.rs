//! The types that a field may have, and how each is read and written.
//!
//! Arrays, nullable values and structs are made of these; whether lengths are compact is known to reader and writer.
//! The source is the protocol guide's section on primitive types, and KIP-482 for the compact forms.

use bytes::Bytes;

use crate::{DecodeErrorKind, ErrorCode, FieldInfo, Message, Reader, RecordSet, Str, Uuid, Writer};

/// A type that a field may have.
pub trait Wire: Sized {
    /// Its name in the schema.
    const KIND: Kind;
    /// Whether it has a null.
    const NULLABLE: bool = false;
    /// Whether there may be error codes in it; see [`Message::outcomes`].
    const HAS_OUTCOMES: bool = false;

    /// The default of a field of this type that names none.
    fn initial() -> Self;
    /// Reads one value into one that is still a default; see [`Message::decode`].
    fn read(&mut self, reader: &mut Reader<'_>, version: i16);
    /// Writes one value.
    fn write(&self, writer: &mut Writer, version: i16);

    /// Reads one value that is a tagged field.
    #[inline]
    fn read_tagged(&mut self, reader: &mut Reader<'_>, version: i16) {
        self.read(reader, version);
    }

    /// Writes one value that is a tagged field.
    #[inline]
    fn write_tagged(&self, writer: &mut Writer, version: i16) {
        self.write(writer, version);
    }

    /// What became of each part, where parts have error codes; see [`Message::outcomes`].
    #[inline]
    fn outcomes(&self, codes: &mut Vec<ErrorCode>) {
        let _none = codes;
    }

    /// Reads the `count` elements of an array, which is empty so far.
    fn read_many(elements: &mut Vec<Self>, reader: &mut Reader<'_>, count: usize, version: i16) {
        reader.elements(elements, count, version);
    }
}

/// A type as the schema names it.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A primitive: `int32`, `string`, `records`, ...
    Primitive(&'static str),
    /// An array of something.
    Array(&'static Self),
    /// A struct: its name and rows.
    Struct(&'static str, &'static [FieldInfo]),
}

/// `type name, value from a reader, value to a writer` for a primitive and, where it has a null, its `Option`.
///
/// A primitive with `array = f` is always the same number of bytes, of which `f` makes a value: arrays of it are read
/// in one piece.
macro_rules! primitive {
    ($type:ty, $kind:literal, $(array = $from:expr,)? |$r:ident| $read:expr, |$value:ident, $w:ident| $write:expr) => {
        impl Wire for $type {
            const KIND: Kind = Kind::Primitive($kind);

            #[inline]
            fn initial() -> Self {
                Self::default()
            }

            #[inline]
            fn read(&mut self, $r: &mut Reader<'_>, _: i16) {
                *self = $read;
            }

            #[inline]
            fn write(&self, $w: &mut Writer, _: i16) {
                let $value = self;
                $write
            }

            $(
                fn read_many(elements: &mut Vec<Self>, reader: &mut Reader<'_>, count: usize, _: i16) {
                    reader.fixed_elements(elements, count, $from);
                }
            )?
        }
    };
    ($type:ty, null = $null:expr, $kind:literal, |$r:ident| $read:expr, |$value:ident, $w:ident| $write:expr) => {
        primitive!(
            $type,
            $kind,
            |$r| {
                let value = $read;
                $r.not_null(value)
            },
            |value, $w| {
                let $value = Some(value);
                $write
            }
        );

        impl Wire for Option<$type> {
            const KIND: Kind = Kind::Primitive($kind);
            const NULLABLE: bool = true;

            #[inline]
            fn initial() -> Self {
                $null
            }

            #[inline(never)]
            fn read(&mut self, $r: &mut Reader<'_>, _: i16) {
                *self = $read;
            }

            #[inline]
            fn write(&self, $w: &mut Writer, _: i16) {
                let $value = self.as_ref();
                $write
            }
        }
    };
}

primitive!(bool, "bool", |r| r.bool(), |v, w| w.bool(*v));
primitive!(i8, "int8", array = i8::from_be_bytes, |r| r.i8(), |v, w| w.i8(*v));
primitive!(i16, "int16", array = i16::from_be_bytes, |r| r.i16(), |v, w| w.i16(*v));
primitive!(u16, "uint16", array = u16::from_be_bytes, |r| r.u16(), |v, w| w.u16(*v));
primitive!(i32, "int32", array = i32::from_be_bytes, |r| r.i32(), |v, w| w.i32(*v));
primitive!(i64, "int64", array = i64::from_be_bytes, |r| r.i64(), |v, w| w.i64(*v));
primitive!(f64, "float64", array = f64::from_be_bytes, |r| r.f64(), |v, w| w.f64(*v));
primitive!(Uuid, "uuid", array = Uuid::from_bytes, |r| r.uuid(), |v, w| w.uuid(v));
primitive!(ErrorCode, "int16", |r| ErrorCode(r.i16()), |v, w| w.i16(v.0));
primitive!(Str, null = Some(Str::default()), "string", |r| r.string(), |v, w| w.string(v.map(Str::as_str)));
primitive!(Bytes, null = Some(Bytes::new()), "bytes", |r| r.bytes(), |v, w| w.bytes(v.map(|b| &b[..])));
primitive!(RecordSet, null = None, "records", |r| r.records(), |v, w| w.records(v));

impl<T: Wire> Wire for Vec<T> {
    const KIND: Kind = Kind::Array(&T::KIND);
    const HAS_OUTCOMES: bool = T::HAS_OUTCOMES;

    fn initial() -> Self {
        Self::new()
    }

    #[inline]
    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        match reader.length() {
            Some(0) => {}
            Some(count) => T::read_many(self, reader, count, version),
            None => reader.fail(DecodeErrorKind::Null),
        }
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        writer.array(Some(self), version);
    }

    fn outcomes(&self, codes: &mut Vec<ErrorCode>) {
        self.iter().for_each(|part| part.outcomes(codes));
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    const KIND: Kind = Kind::Array(&T::KIND);
    const NULLABLE: bool = true;
    const HAS_OUTCOMES: bool = T::HAS_OUTCOMES;

    fn initial() -> Self {
        Some(Vec::new())
    }

    #[inline]
    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        *self = None;
        if let Some(count) = reader.length() {
            let elements = self.insert(Vec::new());
            if count > 0 {
                T::read_many(elements, reader, count, version);
            }
        }
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        writer.array(self.as_deref(), version);
    }

    fn outcomes(&self, codes: &mut Vec<ErrorCode>) {
        self.iter().flatten().for_each(|part| part.outcomes(codes));
    }
}

impl<T: Message> Wire for T {
    const KIND: Kind = Kind::Struct(T::NAME, T::FIELDS);
    const HAS_OUTCOMES: bool = <T as Message>::HAS_OUTCOMES;

    fn initial() -> Self {
        Self::default()
    }

    #[inline]
    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        self.decode(reader, version);
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        self.encode(writer, version);
    }

    fn outcomes(&self, codes: &mut Vec<ErrorCode>) {
        Message::outcomes(self, codes);
    }
}

/// One byte in front says whether there is a struct: -1 for none, 1 for one. In a tagged field it is a varint, and 0
/// stands for none.
impl<T: Message> Wire for Option<T> {
    const KIND: Kind = Kind::Struct(T::NAME, T::FIELDS);
    const NULLABLE: bool = true;
    const HAS_OUTCOMES: bool = <T as Message>::HAS_OUTCOMES;

    fn initial() -> Self {
        Some(T::default())
    }

    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        *self = (reader.i8() >= 0).then(T::default);
        self.iter_mut().for_each(|value| value.decode(reader, version));
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        writer.i8(if self.is_some() { 1 } else { -1 });
        if let Some(value) = self {
            value.encode(writer, version);
        }
    }

    fn read_tagged(&mut self, reader: &mut Reader<'_>, version: i16) {
        *self = (reader.uvarint() > 0).then(T::default);
        self.iter_mut().for_each(|value| value.decode(reader, version));
    }

    fn write_tagged(&self, writer: &mut Writer, version: i16) {
        writer.uvarint(self.is_some().into());
        if let Some(value) = self {
            value.encode(writer, version);
        }
    }

    fn outcomes(&self, codes: &mut Vec<ErrorCode>) {
        self.iter().for_each(|part| Message::outcomes(part, codes));
    }
}
