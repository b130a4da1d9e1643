"""Looks at what a browser has made of embed_evhttp's page: WHAT FILE..., see embed_page.sh."""
import html.parser
import json
import re
import struct
import sys

NUMBERS = ['channels', 'queued', 'passes', 'events', 'predicate_calls', 'bytes_in', 'bytes_out',
           'http_requests', 'ticks', 'answers']


class Page(html.parser.HTMLParser):
    """texts: of elements with an id, and of those with data-of, "rate of NAME"."""

    def __init__(self, path):
        super().__init__()
        self.texts, self.attributes, self.tags = {}, {}, []
        self.inside = None
        with open(path, encoding='utf-8') as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        of = attrs.get('data-of')
        self.inside = attrs.get('id') or (of and 'rate of ' + of)
        if self.inside:
            self.texts[self.inside] = ''
            self.attributes[self.inside] = attrs

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] += data

    def number(self, name):
        text = self.texts[name]
        if not re.fullmatch(r'\d{1,3}(,\d{3})*', text):
            sys.exit('%s is %r' % (name, text))
        return int(text.replace(',', ''))

    def first(self, tag):
        return next(attrs for name, attrs in self.tags if name == tag)


def expect(what, have, want):
    if have != want:
        sys.exit('%s is %r, not %r' % (what, have, want))


def live(dom, before, after):
    """The numbers are those of a time between two answers of the server, and not of loading."""
    page = Page(dom)
    before, after = (json.load(open(path)) for path in (before, after))
    expect('the state', page.texts['state'], 'Live, every second')
    expect('its class', page.attributes['state'].get('class'), 'live')
    for name in NUMBERS[2:]:
        if not before[name] <= page.number(name) <= after[name]:
            sys.exit('%s: %d is not from %d to %d' % (name, page.number(name), before[name],
                                                      after[name]))
        if not re.fullmatch(r'[\d,.]+ a second', page.texts['rate of ' + name]):
            sys.exit('the rate of %s is %r' % (name, page.texts['rate of ' + name]))
    # The page, and three times its script.
    if page.number('http_requests') < before['http_requests'] + 4:
        sys.exit('the script has not asked')
    if page.number('channels') < 1 or page.number('answers') < 1:
        sys.exit('no channels')
    expect('the chart is hidden', 'hidden' in page.first('figure'), False)
    if len(page.first('polyline')['points'].split()) < 2:
        sys.exit('the chart has no points')


def loaded(file):
    """Without a script it has numbers too, and says of when."""
    page = Page(file)
    expect('the state', page.texts['state'], 'As of loading; reload for newer numbers.')
    for name in NUMBERS:
        page.number(name)
    if page.number('http_requests') < 1 or page.number('bytes_in') < 1:
        sys.exit('no numbers')
    if not re.fullmatch(r'\d+:\d\d:\d\d', page.texts['uptime']):
        sys.exit('uptime is %r' % page.texts['uptime'])
    expect('the chart is hidden', 'hidden' in page.first('figure'), True)


def lost(dom, file):
    """Where /stats is not there, the page says so, and keeps what it had."""
    page, old = Page(dom), Page(file)
    expect('the state', page.texts['state'], 'The server does not answer')
    expect('its class', page.attributes['state'].get('class'), 'lost')
    for name in NUMBERS + ['uptime']:
        expect(name, page.texts[name], old.texts[name])


def given(dom):
    page = Page(dom)
    want = ['1', '12', '123', '1,234', '12,345', '123,456', '1,234,567', '0', '1,000', '999']
    for name, text in zip(NUMBERS, want):
        expect(name, page.texts[name], text)
    expect('uptime', page.texts['uptime'], '1:01:01')
    expect('the state', page.texts['state'], 'Live, every second')


def picture(file, size):
    """A PNG of that size which is not of one colour."""
    with open(file, 'rb') as png:
        data = png.read()
    expect('the magic', data[:8], b'\x89PNG\r\n\x1a\n')
    expect('the size', '%d,%d' % struct.unpack('>II', data[16:24]), size)
    if len(data) < 20000:
        sys.exit('the picture is empty')


def widths(dom, want):
    """Of windows, and of the page in each."""
    expect('the widths', Page(dom).first('html')['data-widths'], want)


globals()[sys.argv[1]](*sys.argv[2:])
