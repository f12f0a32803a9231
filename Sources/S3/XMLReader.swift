// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CExpat

/// Reads an XML document in one go and reports its elements, without ever trusting it.
///
/// Entities are not defined by the document (a document type ends the parse), nesting is limited, and text is bounded by the
/// document's own size, which the transport limits.
///
/// - Source: expat's own manual (`expat.h`); Amazon S3 API Reference for the documents.
struct XMLReader {
    /// The document is no XML, is cut off, or nests too deep.
    struct Malformed: Error, Hashable, Sendable {}

    /// What a listener hears.
    enum Event {
        /// An element began.
        case begin
        /// An element ended; the text is what stood directly before its end tag, so for a leaf its whole text.
        case end(text: String)
    }

    /// The deepest nesting that is read; S3's documents have four.
    private static let depthMax = 16

    /// The state that expat's callbacks share.
    private final class Walk {
        var path: [String] = []
        var text: [UInt8] = []
        let listener: ([String], Event) -> Void
        var parser: XML_Parser?

        init(_ listener: @escaping ([String], Event) -> Void) { self.listener = listener }

        func begin(_ name: String) {
            guard path.count < depthMax else { return stop() }
            path.append(name)
            text.removeAll(keepingCapacity: true)
            listener(path, .begin)
        }

        func end() {
            listener(path, .end(text: String(decoding: text, as: UTF8.self)))
            text.removeAll(keepingCapacity: true)
            path.removeLast()
        }

        func stop() { _ = XML_StopParser(parser, XML_Bool(XML_FALSE)) }
    }

    /// Parses `bytes`, which hold the whole document.
    ///
    /// - Parameter listener: Called with the names from the root down, without name space prefixes. It is called for what
    ///   comes before a fault, too: the caller must drop what it gathered when this throws.
    static func read(
        _ bytes: UnsafeRawBufferPointer, _ listener: ([String], Event) -> Void
    ) throws(Malformed) {
        let isRead = withoutActuallyEscaping(listener) { listener in
            let walk = Walk(listener)
            return withExtendedLifetime(walk) { parse(bytes, walk) }
        }
        guard isRead else { throw Malformed() }
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer, _ walk: Walk) -> Bool {
        guard let parser = XML_ParserCreate(nil), let length = Int32(exactly: bytes.count) else { return false }
        defer { XML_ParserFree(parser) }
        walk.parser = parser
        // Proof for passUnretained: the caller keeps `walk` alive beyond the parser.
        XML_SetUserData(parser, Unmanaged.passUnretained(walk).toOpaque())
        XML_SetElementHandler(
            parser,
            { context, name, _ in
                guard let name else { return }
                let full = String(cString: name)
                XMLReader.walk(context).begin(full.split(separator: ":").last.map(String.init) ?? full)
            },
            { context, _ in XMLReader.walk(context).end() })
        XML_SetCharacterDataHandler(parser) { context, text, count in
            let bytes = UnsafeRawBufferPointer(start: text, count: Int(count))
            XMLReader.walk(context).text.append(contentsOf: bytes)
        }
        XML_SetStartDoctypeDeclHandler(parser) { context, _, _, _, _ in XMLReader.walk(context).stop() }
        let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        return XML_Parse(parser, start, length, 1) == XML_STATUS_OK
    }

    private static func walk(_ context: UnsafeMutableRawPointer?) -> Walk {
        guard let context else { preconditionFailure("expat calls back with the context it was given") }
        return Unmanaged<Walk>.fromOpaque(context).takeUnretainedValue()
    }
}
