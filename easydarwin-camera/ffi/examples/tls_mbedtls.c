/* TLS by mbedTLS (2.28) for tls:// CMS and rtsps:// media servers: what to write where a firmware has a TLS
 * library already. With OpenSSL or wolfSSL it is the same: SSL_set_fd(), SSL_connect(), SSL_read(), SSL_write().
 *
 * The camera has connected the socket before `open` and closes it after `close`; it does not block, so mbedTLS
 * says WANT_READ or WANT_WRITE, which the camera waits for. A client's key in a secure element is set with
 * mbedtls_ssl_conf_own_cert() and mbedtls_pk_setup_opaque(), as ever.
 *
 * mbedTLS judges certificates by time(). On a device whose clock is not set it refuses them all: set the clock
 * first, or pin the server's key in a callback of mbedtls_ssl_conf_verify() and ignore the dates there.
 *
 * Build: cc app.c tls_mbedtls.c -ledc -lmbedtls -lmbedx509 -lmbedcrypto
 */
#include "tls_mbedtls.h"
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <stdlib.h>

struct mbedtls_library {
    mbedtls_x509_crt authorities;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
};

typedef struct {
    mbedtls_ssl_context ssl;
    mbedtls_net_context socket;
} session;

/* mbedTLS's result as the camera wants it. */
static int32_t result(int code)
{
    switch (code) {
    case MBEDTLS_ERR_SSL_WANT_READ:
        return EDC_TLS_WANT_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return EDC_TLS_WANT_WRITE;
    default:
        return code;
    }
}

static void *open_session(void *user, int32_t fd, const char *host)
{
    mbedtls_library *library = user;
    session *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    mbedtls_ssl_init(&made->ssl);
    made->socket.fd = fd;
    if (mbedtls_ssl_setup(&made->ssl, &library->config) || mbedtls_ssl_set_hostname(&made->ssl, host)) {
        mbedtls_ssl_free(&made->ssl);
        free(made);
        return NULL;
    }
    mbedtls_ssl_set_bio(&made->ssl, &made->socket, mbedtls_net_send, mbedtls_net_recv, NULL);
    return made;
}

static int32_t handshake(void *user, void *opened)
{
    session *with = opened;
    (void)user;
    return result(mbedtls_ssl_handshake(&with->ssl));
}

static int32_t read_some(void *user, void *opened, uint8_t *data, uint32_t length)
{
    session *from = opened;
    int code;
    (void)user;
    do
        code = mbedtls_ssl_read(&from->ssl, data, length);
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
    while (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
#else
    while (0);
#endif
    /* The protocols above tell by themselves where they end. */
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || code == MBEDTLS_ERR_SSL_CONN_EOF)
        return 0;
    return result(code);
}

static int32_t write_some(void *user, void *opened, const uint8_t *data, uint32_t length)
{
    session *to = opened;
    (void)user;
    return result(mbedtls_ssl_write(&to->ssl, data, length));
}

static void close_session(void *user, void *opened)
{
    session *over = opened;
    (void)user;
    mbedtls_ssl_close_notify(&over->ssl);
    mbedtls_ssl_free(&over->ssl);
    free(over);
}

static void describe(void *user, void *opened, int32_t code, char *text, uint32_t size)
{
    session *of = opened;
    (void)user;
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED && of)
        mbedtls_x509_crt_verify_info(text, size, "", mbedtls_ssl_get_verify_result(&of->ssl));
    else if (code)
        mbedtls_strerror(code, text, size);
}

mbedtls_library *mbedtls_library_new(const char *ca_file)
{
    mbedtls_library *library = calloc(1, sizeof *library);
    if (!library)
        return NULL;
    mbedtls_x509_crt_init(&library->authorities);
    mbedtls_entropy_init(&library->entropy);
    mbedtls_ctr_drbg_init(&library->random);
    mbedtls_ssl_config_init(&library->config);
    if (mbedtls_x509_crt_parse_file(&library->authorities, ca_file) ||
        mbedtls_ctr_drbg_seed(&library->random, mbedtls_entropy_func, &library->entropy, NULL, 0) ||
        mbedtls_ssl_config_defaults(&library->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT)) {
        mbedtls_library_free(library);
        return NULL;
    }
    mbedtls_ssl_conf_authmode(&library->config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&library->config, &library->authorities, NULL);
    mbedtls_ssl_conf_rng(&library->config, mbedtls_ctr_drbg_random, &library->random);
    return library;
}

int32_t mbedtls_library_use(mbedtls_library *library, edc_config *config)
{
    edc_tls table = EDC_INIT(table);
    table.open = open_session;
    table.handshake = handshake;
    table.read = read_some;
    table.write = write_some;
    table.close = close_session;
    table.describe = describe;
    return edc_config_set_tls(config, &table, library);
}

void mbedtls_library_free(mbedtls_library *library)
{
    mbedtls_ssl_config_free(&library->config);
    mbedtls_ctr_drbg_free(&library->random);
    mbedtls_entropy_free(&library->entropy);
    mbedtls_x509_crt_free(&library->authorities);
    free(library);
}
