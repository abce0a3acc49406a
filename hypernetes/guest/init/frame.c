#include "frame.h"

#include <string.h>

const uint8_t frame_magic[MAGIC_SIZE] = {0x9e, 'h', 'n', '-', 'l', 'i', 'n', 'k', 0xd1, 0x00, 0xc3, 0x5a, 0x17, 0xe8, 0x0d, 0x0a};

static uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> (8 * i);
}

/* table[n][b]: what byte b does to the crc n bytes later, so that eight bytes are one step. */
static uint32_t table[8][256];

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int n = 1; n < 8; n++)
			table[n][i] = table[0][table[n - 1][i] & 0xff] ^ table[n - 1][i] >> 8;
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t length)
{
	const uint8_t *p = data;

	if (!table[0][1])
		make_table();
	crc = ~crc;
	for (; length >= 8; length -= 8, p += 8) {
		uint32_t low, high; /* of a little-endian machine */
		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
		      table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
	}
	while (length--)
		crc = table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
	return ~crc;
}

static uint32_t frame_crc(uint32_t seed, const uint8_t *header, const uint8_t *payload, size_t length)
{
	return crc32_update(crc32_update(seed, header, 12), payload, length);
}

void frame_header(uint8_t header[FRAME_HEADER], uint32_t seed, const struct frame *f)
{
	put32(header, f->length);
	header[4] = f->type;
	header[5] = f->flags;
	header[6] = header[7] = 0;
	put32(header + 8, f->id);
	put32(header + 12, frame_crc(seed, header, NULL, 0));
}

void parser_init(struct parser *p, void (*synced)(void), void (*received)(const struct frame *))
{
	memset(p, 0, sizeof *p);
	p->hunting = true;
	p->synced = synced;
	p->received = received;
}

/* Consumes what can't begin a sync; returns true when one was found. */
static bool hunt(struct parser *p)
{
	size_t skip = 0;

	while (skip < p->have) {
		size_t left = p->have - skip;
		if (memcmp(p->bytes + skip, frame_magic, left < MAGIC_SIZE ? left : MAGIC_SIZE) == 0)
			break;
		skip++;
	}
	p->have -= skip;
	memmove(p->bytes, p->bytes + skip, p->have);
	if (p->have < MAGIC_SIZE + EPOCH_SIZE)
		return false;
	memcpy(p->epoch, p->bytes + MAGIC_SIZE, EPOCH_SIZE);
	p->seed = crc32_update(0, p->epoch, EPOCH_SIZE);
	p->have -= MAGIC_SIZE + EPOCH_SIZE;
	memmove(p->bytes, p->bytes + MAGIC_SIZE + EPOCH_SIZE, p->have);
	p->hunting = false;
	p->synced();
	return true;
}

/* Takes one frame off the buffer; returns whether there may be more to do. */
static bool take(struct parser *p)
{
	const uint8_t *b = p->bytes;
	struct frame f;

	if (p->have < FRAME_HEADER)
		return false;
	f.length = get32(b);
	f.type = b[4];
	f.flags = b[5];
	f.id = get32(b + 8);
	f.payload = b + FRAME_HEADER;
	if (f.length > FRAME_MAX || f.type == 0 || b[6] || b[7]) {
		p->hunting = true;
		return true;
	}
	if (p->have < FRAME_HEADER + f.length)
		return false;
	if (get32(b + 12) != frame_crc(p->seed, b, f.payload, f.length)) {
		p->hunting = true;
		return true;
	}
	p->received(&f);
	p->have -= FRAME_HEADER + f.length;
	memmove(p->bytes, p->bytes + FRAME_HEADER + f.length, p->have);
	return true;
}

void parser_feed(struct parser *p, const uint8_t *data, size_t length)
{
	while (length) {
		size_t room = sizeof p->bytes - p->have;
		size_t n = length < room ? length : room;

		memcpy(p->bytes + p->have, data, n);
		p->have += n;
		data += n;
		length -= n;
		while (p->hunting ? hunt(p) : take(p))
			;
	}
}

int field_next(struct fields *f, struct field *out)
{
	if (f->left == 0)
		return 0;
	if (f->left < 6)
		return -1;
	out->tag = f->at[0] | f->at[1] << 8;
	out->length = get32(f->at + 2);
	out->value = f->at + 6;
	if (out->length > f->left - 6)
		return -1;
	f->at += 6 + out->length;
	f->left -= 6 + out->length;
	return 1;
}

const char *field_string(const struct field *f)
{
	if (f->length == 0 || memchr(f->value, 0, f->length) != f->value + f->length - 1)
		return NULL;
	return (const char *)f->value;
}

bool field_number(const struct field *f, uint64_t *out)
{
	if (f->length > 8)
		return false;
	*out = 0;
	for (uint32_t i = 0; i < f->length; i++)
		*out |= (uint64_t)f->value[i] << (8 * i);
	return true;
}
