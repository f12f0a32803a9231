// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A moment in UTC, to the second, in the two spellings that S3 wants.
struct CalendarDate: Hashable, Sendable {
    /// Seconds since 1970-01-01T00:00:00Z.
    let unixSeconds: Int64

    /// Cuts a time since 1970 down to the second.
    init(unixTime: Duration) { unixSeconds = unixTime.components.seconds }

    /// Whole days since 1970-01-01, which tell two values of ``day`` apart without spelling them.
    var days: Int { Int((unixSeconds - Int64(secondOfDay)) / 86400) }

    /// `20130524T000000Z`: `x-amz-date`.
    var basic: String {
        var text = day
        text += "T"
        for number in [hour, minute, second] { text += Self.pad(number) }
        text += "Z"
        return text
    }

    /// `20130524`: the scope of a SigV4 key.
    var day: String {
        let (year, month, day) = civil
        return Self.pad(year, 4) + Self.pad(month) + Self.pad(day)
    }

    /// `Fri, 24 May 2013 00:00:00 GMT`: the Date header.
    ///
    /// - Source: RFC 9110 section 5.6.7, IMF-fixdate.
    var fixed: String {
        let (year, month, day) = civil
        let weekday = Self.weekdays[Int((days % 7 + 11) % 7)]  // 1970-01-01 was a Thursday
        let time = [hour, minute, second].map { Self.pad($0) }.joined(separator: ":")
        return "\(weekday), \(Self.pad(day)) \(Self.months[month - 1]) \(Self.pad(year, 4)) \(time) GMT"
    }

    /// Reads a Date header.
    ///
    /// - Returns: nil when it is not of the form of ``fixed``.
    init?(fixed text: String) {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let year = Int(parts[3]),
            (1...31).contains(day), (1970...9999).contains(year),
            let month = Self.months.firstIndex(of: String(parts[2]))
        else { return nil }
        let time = parts[4].split(separator: ":").map { Int($0) }
        guard time.count == 3, let hour = time[0], let minute = time[1], let second = time[2],
            (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        let days = Self.days(year: year, month: month + 1, day: day)
        unixSeconds = Int64(days * 86400 + hour * 3600 + minute * 60 + second)
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    private var secondOfDay: Int { Int((unixSeconds % 86400 + 86400) % 86400) }
    private var hour: Int { secondOfDay / 3600 }
    private var minute: Int { secondOfDay / 60 % 60 }
    private var second: Int { secondOfDay % 60 }

    /// Year, month and day in the proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March.
    private var civil: (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// The reverse of ``civil``, for years from 1970.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = year / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func pad(_ number: Int, _ width: Int = 2) -> String {
        let digits = String(number)
        let missing = width - digits.utf8.count
        return missing > 0 ? String(repeating: "0", count: missing) + digits : digits
    }
}
