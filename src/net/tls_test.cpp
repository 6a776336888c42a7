// TLS as devices use it: a server with a certificate made here, trusted or not.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <future>
#include <memory>
#include <string>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/test_temp_dir.hpp"
#include "net/http_client.hpp"
#include "net/net_test_support.hpp"
#include "net/websocket_client.hpp"

namespace nizhal::net {
namespace {

using namespace test;

/// A certificate that signs itself, for one name, in a file that a client may trust.
class Certificate {
 public:
  explicit Certificate(const char* alternative_name)
      : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free) {
    X509* const x509 = certificate_.get();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key_.get());
    X509_NAME* const name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(x509, name);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
    for (const auto& [nid, value] :
         {std::pair(NID_basic_constraints, "critical,CA:TRUE"), std::pair(NID_subject_alt_name, alternative_name)}) {
      X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
      X509_add_ext(x509, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(x509, key_.get(), EVP_sha256());
    FILE* const out = std::fopen(file_.c_str(), "w");
    PEM_write_X509(out, x509);
    fclose(out);
  }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  const std::string& file() const { return file_; }
  EVP_PKEY* key() const { return key_.get(); }
  X509* x509() const { return certificate_.get(); }

 private:
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
  std::unique_ptr<X509, void (*)(X509*)> certificate_;
  TempDir dir_;
  std::string file_ = dir_.file("certificate.pem");
};

/// TLS in front of a plain server: what HTTPS proxies do.
class TlsProxy {
 public:
  TlsProxy(const Certificate& certificate, std::uint16_t backend)
      : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free),
        backend_(backend),
        fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    SSL_CTX_use_certificate(context_.get(), certificate.x509());
    SSL_CTX_use_PrivateKey(context_.get(), certificate.key());
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 16) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      ADD_FAILURE() << "cannot listen";
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] {
      for (;;) {
        const int accepted = accept(fd_, nullptr, nullptr);
        if (accepted < 0) return;
        carriers_.emplace_back([this, accepted] { carry(accepted); });
      }
    });
  }
  ~TlsProxy() {
    shutdown(fd_, SHUT_RDWR);
    acceptor_.join();
    for (auto& carrier : carriers_) carrier.join();
    ::close(fd_);
  }
  std::uint16_t port() const { return port_; }

 private:
  void carry(int fd) {
    std::unique_ptr<SSL, void (*)(SSL*)> tls(SSL_new(context_.get()), SSL_free);
    SSL_set_fd(tls.get(), fd);
    if (SSL_accept(tls.get()) == 1) {
      const int backend = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(backend_);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (connect(backend, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        char bytes[16384];
        for (;;) {
          pollfd both[2] = {{fd, POLLIN, 0}, {backend, POLLIN, 0}};
          if (SSL_pending(tls.get()) == 0 && poll(both, 2, -1) <= 0) break;
          if (SSL_pending(tls.get()) > 0 || both[0].revents) {
            const int count = SSL_read(tls.get(), bytes, sizeof bytes);
            if (count <= 0 || ::send(backend, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL) != count) break;
          }
          if (both[1].revents) {
            const auto count = recv(backend, bytes, sizeof bytes, 0);
            if (count <= 0 || SSL_write(tls.get(), bytes, static_cast<int>(count)) <= 0) break;
          }
        }
      }
      ::close(backend);
    }
    ::close(fd);
  }

  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  std::uint16_t backend_;
  int fd_;
  std::uint16_t port_ = 0;
  std::vector<std::thread> carriers_;
  std::thread acceptor_;
};

class Client {
 public:
  Client(const std::string& host, std::uint16_t port, const std::string& ca_file) : work_(io_.get_executor()) {
    ClientNetOptions options;
    options.server = *parse_url("https://" + host + ":" + std::to_string(port));
    options.ca_file = ca_file;
    http_ = std::make_unique<HttpClient>(io_, options);
    socket_ = std::make_unique<WebSocketClient>(
        io_, options,
        WebSocketEvents{.opened = [this] { events_.put("opened"); },
                        .frame = [this](std::string_view text) { events_.put("frame " + std::string(text)); },
                        .closed = [this](const std::string& reason) { events_.put("closed " + reason); }});
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Client() {
    io_.stop();
    thread_.join();
  }
  Result<protocol::HttpResponse> send(std::string body) {
    std::promise<Result<protocol::HttpResponse>> answer;
    boost::asio::post(io_, [&] {
      protocol::HttpRequest request;
      request.method = "POST";
      request.path = "/echo";
      request.body = body;
      http_->send(std::move(request), kDeadline, [&](auto got) { answer.set_value(std::move(got)); });
    });
    return answer.get_future().get();
  }
  void open() {
    boost::asio::post(io_, [this] { socket_->open("/sync/stream", "t"); });
  }
  std::string next() { return events_.take().value_or("nothing"); }

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<WebSocketClient> socket_;
  Mailbox<std::string> events_;
  std::thread thread_;
};

TEST(Tls, ATrustedServerIsUsedForRequestsAndTheSocket) {
  const Certificate certificate("IP:127.0.0.1,DNS:localhost");
  FakeService service;
  TestServer server(service);
  TlsProxy proxy(certificate, server.port());
  for (const char* host : {"127.0.0.1", "localhost"}) {
    Client client(host, proxy.port(), certificate.file());
    for (int i = 0; i < 3; ++i) {
      const auto answer = client.send("over TLS");
      ASSERT_TRUE(answer) << answer.error().message;
      EXPECT_EQ(answer->body, "over TLS");
    }
    client.open();
    EXPECT_EQ(client.next(), "opened");
    const auto peer = service.opened.take();
    ASSERT_TRUE(peer);
    (*peer)->send("repull:a");
    EXPECT_EQ(client.next(), "frame repull:a");
  }
}

TEST(Tls, AnUnknownCertificateIsRefused) {
  const Certificate certificate("IP:127.0.0.1");
  FakeService service;
  TestServer server(service);
  TlsProxy proxy(certificate, server.port());
  Client client("127.0.0.1", proxy.port(), "");
  const auto answer = client.send("secret");
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find("cannot be trusted"), std::string::npos) << answer.error().message;
  client.open();
  EXPECT_NE(client.next().find("cannot be trusted"), std::string::npos);
}

TEST(Tls, ACertificateForAnotherNameIsRefused) {
  const Certificate certificate("DNS:other.example.com");
  FakeService service;
  TestServer server(service);
  TlsProxy proxy(certificate, server.port());
  Client client("127.0.0.1", proxy.port(), certificate.file());
  const auto answer = client.send("secret");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unreachable);
  EXPECT_NE(answer.error().message.find("certificate"), std::string::npos) << answer.error().message;
}

TEST(Tls, APlainServerBehindAnHttpsAddressIsAFailure) {
  FakeService service;
  TestServer server(service);
  Client client("127.0.0.1", server.port(), "");
  const auto answer = client.send("secret");
  ASSERT_FALSE(answer);
  EXPECT_TRUE(answer.error().message.starts_with("TLS: ")) << answer.error().message;
}

}  // namespace
}  // namespace nizhal::net
