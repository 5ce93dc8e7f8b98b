/*
 * address.c - "host:port" as text and as the system has it (net). See address.h.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool net_address_split(const char *address, char host[NET_ADDRESS_MAX], char port[8])
{
	const char *colon = address ? strrchr(address, ':') : NULL;
	size_t host_bytes;
	char *end;

	if (!colon || colon == address || strlen(address) >= NET_ADDRESS_MAX ||
	    strlen(colon + 1) > 5)
		return false;
	if (colon[1] < '0' || colon[1] > '9' || strtoul(colon + 1, &end, 10) > 65535 || *end)
		return false;
	host_bytes = (size_t)(colon - address);
	if (address[0] == '[') {
		if (colon[-1] != ']' || host_bytes < 3)
			return false;
		address++;
		host_bytes -= 2;
	} else if (memchr(address, ':', host_bytes)) {
		return false; /* IPv6 without brackets */
	}
	memcpy(host, address, host_bytes);
	host[host_bytes] = '\0';
	snprintf(port, 8, "%s", colon + 1);
	return true;
}

void net_address_format(const void *sockaddr, char out[NET_ADDRESS_MAX])
{
	const struct sockaddr *sa = sockaddr;
	char text[INET6_ADDRSTRLEN];

	snprintf(out, NET_ADDRESS_MAX, "unknown");
	if (!sa)
		return;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = sockaddr;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		snprintf(out, NET_ADDRESS_MAX, "%s:%u", text, ntohs(in->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = sockaddr;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		snprintf(out, NET_ADDRESS_MAX, "[%s]:%u", text, ntohs(in6->sin6_port));
	}
}

void net_address_bound(const char *host, const void *sockaddr, char out[NET_ADDRESS_MAX])
{
	char text[NET_ADDRESS_MAX];

	net_address_format(sockaddr, text);
	if (strrchr(text, ':'))
		snprintf(out, NET_ADDRESS_MAX, strchr(host, ':') ? "[%.100s]%s" : "%.100s%s", host,
			 strrchr(text, ':'));
}

void net_address_set_port(void *sockaddr, uint16_t port)
{
	const struct sockaddr *sa = sockaddr;

	if (sa->sa_family == AF_INET)
		((struct sockaddr_in *)sockaddr)->sin_port = htons(port);
	else if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)sockaddr)->sin6_port = htons(port);
}

uint16_t net_address_port(const void *sockaddr)
{
	const struct sockaddr *sa = sockaddr;

	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)sockaddr)->sin_port);
	return sa->sa_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)sockaddr)->sin6_port)
					 : 0;
}
